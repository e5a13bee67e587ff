"""SAIL's terms: labels that are drawn, and gradients that are score functions, against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from align_lab import equations as eq

F = torch.tensor([-0.4, -1.5], dtype=torch.float64)  # log σ(βz) of two pairs
LOGP = torch.tensor([[-0.5, -3.0], [-0.25, -20.0]], dtype=torch.float64)


def gradient(value: Tensor, of: Tensor) -> list[list[float]]:
    return torch.autograd.grad(value.sum(), of)[0].tolist()


def test_a_label_is_positive_for_the_share_of_random_numbers_that_its_probability_says() -> None:
    """σ(log 3) = 3/4 of the numbers 0, 1/8, ..., 7/8; a probability of 0 never, one of 1 always."""
    noise = torch.arange(8, dtype=torch.float64) / 8
    for gap, positive in ((math.log(3), 6), (0.0, 4), (-1e4, 0), (1e4, 8)):
        labels = eq.policy_label(torch.full((8,), gap, dtype=torch.float64), noise)
        assert labels.tolist() == [1.0] * positive + [-1.0] * (8 - positive)


def test_the_score_function_of_completions_weighs_their_log_probability_by_the_loss() -> None:
    """Value 0, gradient -F for every completion of the pair."""
    logp = LOGP.clone().requires_grad_()
    value = eq.through_completions(F, logp)
    assert value.tolist() == [0, 0]
    assert gradient(value, logp) == [[0.4, 0.4], [1.5, 1.5]]


def test_the_released_hook_divides_by_the_log_probability() -> None:
    """Value 0, gradient -F / log π; a completion that is certain has a log-probability of -1e-6."""
    logp = torch.cat([LOGP, torch.zeros(1, 2, dtype=torch.float64)]).requires_grad_()
    value = eq.through_completions_released(torch.tensor([-0.4, -1.5, -2.0], dtype=torch.float64), logp)
    assert value.tolist() == [0, 0, 0]
    expected = [[0.4 / -0.5, 0.4 / -3.0], [1.5 / -0.25, 1.5 / -20.0], [2.0 / -1e-6, 2.0 / -1e-6]]
    for row, of_formula in zip(gradient(value, logp), expected, strict=True):
        assert row == pytest.approx(of_formula)


def test_the_score_function_of_a_label_is_the_loss_times_its_gradient() -> None:
    """-½ F²: gradient -F."""
    loss = F.clone().requires_grad_()
    assert torch.autograd.grad(eq.through_labels(loss).sum(), loss)[0].tolist() == [0.4, 1.5]
