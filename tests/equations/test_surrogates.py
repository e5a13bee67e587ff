"""The surrogates against their papers' formulas in plain Python, with ratios on either side of every bound."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from align_lab import equations as eq
from align_lab.testing.random_experience import experience, rollout

RATIOS = [0.5, 0.79, 0.81, 0.83, 0.99, 1.01, 1.19, 1.21, 1.29, 1.31, 2.5]
LOGP_OLD = -1.5


def tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def clipped(ratio: float, advantage: float, low: float, high: float) -> tuple[float, bool]:
    """-min(A ρ, A clip(ρ)) of arXiv 1707.06347, eq. 7, and whether the second term is the smaller one."""
    bounded = min(max(ratio, 1 - low), 1 + high)
    return -min(advantage * ratio, advantage * bounded), advantage * bounded < advantage * ratio


@pytest.mark.parametrize("advantage", [1.5, -0.7])
@pytest.mark.parametrize("high", [None, 0.3])
def test_the_clipped_surrogate_is_that_of_the_paper_on_either_side_of_each_bound(
    advantage: float, high: float | None
) -> None:
    """One upper bound of its own (DAPO) included; a token that does not count is never clipped."""
    expected = [clipped(ratio, advantage, 0.2, 0.2 if high is None else high) for ratio in RATIOS]
    new, old = tensor([LOGP_OLD + math.log(ratio) for ratio in RATIOS]), torch.full((11,), LOGP_OLD).double()
    A, counted = torch.full((11,), advantage).double(), torch.ones(11, dtype=torch.bool)
    loss, active = eq.clipped_surrogate(new, old, A, counted, clip=0.2, clip_high=high)
    torch.testing.assert_close(loss, tensor([one for one, _ in expected]))
    assert active.tolist() == [one for _, one in expected]
    assert not eq.clipped_surrogate(new, old, A, ~counted, clip=0.2, clip_high=high).active.any()


def test_the_ratio_of_a_sequence_is_the_geometric_mean_of_its_counted_tokens() -> None:
    """And its bounds are those of the sequence: GSPO, arXiv 2507.18071, eqs. 5 and 7."""
    ratios = [[0.5, 2.0, 1.1], [1.1, 7.0, 1.5], [0.9, 0.7, 1.0]]
    mask = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=torch.bool)
    means = [(0.5 * 2.0 * 1.1) ** (1 / 3), (1.1 * 1.5) ** (1 / 2), (0.9 * 0.7) ** (1 / 3)]
    new, A = torch.stack([tensor(row) for row in ratios]).log(), torch.full((3, 3), 2.0).double()
    loss, active = eq.sequence_surrogate(new, torch.zeros_like(new), A, mask, clip=0.1, clip_high=0.05)
    expected = [clipped(mean, 2.0, 0.1, 0.05)[0] for mean in means for _ in range(3)]
    torch.testing.assert_close(loss[mask], tensor(expected).view(3, 3)[mask])
    assert active.tolist() == [[False] * 3, [True, False, True], [False] * 3]  # 1.032, 1.285, 0.857


def test_a_capped_weight_multiplies_the_gradient_and_has_none_itself() -> None:
    """-min(ρ, cap) A log π with a constant weight: CISPO, arXiv 2506.13585, eqs. 4 and 5."""
    new = tensor([LOGP_OLD + math.log(ratio) for ratio in RATIOS]).requires_grad_()
    counted = torch.ones(11, dtype=torch.bool)
    loss, active = eq.capped_weight_surrogate(
        new, torch.full((11,), LOGP_OLD).double(), torch.full((11,), 0.5).double(), counted, cap=1.25
    )
    weights = [min(ratio, 1.25) for ratio in RATIOS]
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), new)[0], tensor([-0.5 * one for one in weights]))
    torch.testing.assert_close(
        loss.detach(), tensor([-0.5 * w * (LOGP_OLD + math.log(r)) for w, r in zip(weights, RATIOS, strict=True)])
    )
    assert active.tolist() == [ratio > 1.25 for ratio in RATIOS]


def test_the_weight_of_a_sampled_token_is_its_ratio_up_to_the_cap() -> None:
    """π_trainer / π_sampler, not the other way around, and never more than the cap; 1 where nothing counts."""
    x = rollout(experience(0, P=1, G=1, T=5))
    mask = torch.tensor([[[True, True, True, True, False]]])
    gaps = tensor([math.log(0.5), math.log(1.9), math.log(2.1), math.log(30.0), math.log(5.0)])
    sampled = replace(x, mask=mask, logp_sampler=x.logp_old - gaps)
    torch.testing.assert_close(eq.importance_weight(sampled, 2.0), tensor([0.5, 1.9, 2.0, 2.0, 1.0]).view(1, 1, 5))


@pytest.mark.parametrize(
    "value, old, target, loss, active",
    [
        (1.0, 0.9, 2.0, 0.5, False),  # inside its clip: ½ (1 - 2)²
        (1.5, 1.0, 2.0, 0.32, True),  # moved 0.5 towards the target, of which 0.2 count: ½ (1.2 - 2)²
        (0.5, 1.0, 0.0, 0.32, True),  # the same downwards: ½ (0.8 - 0)²
        (1.5, 1.0, 0.0, 1.125, False),  # away from the target: the larger one is that of the value itself
        (0.0, 1.0, -3.0, 7.22, True),  # clipped around the old value, not around the target
    ],
)
def test_the_value_loss_is_the_larger_of_the_value_and_the_clipped_value(
    value: float, old: float, target: float, loss: float, active: bool
) -> None:
    """½ max((V-G)², (V_old + clip(V-V_old, ±0.2) - G)²)."""
    one = torch.ones(1, dtype=torch.bool)
    result = eq.clipped_value_loss(tensor([value]), tensor([old]), tensor([target]), one, clip=0.2)
    torch.testing.assert_close(result.loss, tensor([loss]))
    assert result.active.tolist() == [active]
