"""The reductions, with values by hand."""

from __future__ import annotations

import pytest
import torch

from align_lab import equations as eq

MASK = torch.tensor([[[1, 1, 0], [0, 1, 0]], [[1, 1, 1], [0, 0, 0]]], dtype=torch.bool)
X = torch.tensor([[[1.0, 3.0, 50.0], [50.0, 4.0, 50.0]], [[1.0, 2.0, 6.0], [50.0, 50.0, 50.0]]])


def test_each_reduction_by_hand() -> None:
    """Sequences of two, one, three and no counted tokens."""
    assert eq.masked_sum(X, MASK).tolist() == [[4, 4], [9, 0]]
    assert eq.sequence_mean(X, MASK).tolist() == [[2, 4], [3, 0]]
    assert eq.mean_of_means(X, MASK, over=4.0).item() == 9 / 4
    assert eq.masked_mean(X, MASK, over=4.0).item() == 17 / 4
    assert eq.spread(torch.tensor([[2.0, 5.0], [7.0, 9.0]]), MASK).tolist() == [
        [[2, 2, 0], [0, 5, 0]],
        [[7, 7, 7], [0, 0, 0]],
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rewards_that_differ_by_rounding_are_equal_on_every_processor(dtype: torch.dtype) -> None:
    score = torch.tensor([[1.0, 3.0, 3.0 + 2e-6, 2.0], [0.0, 1e-6, 2e-6, 1e-6], [5.0, 5.0, 5.001, 4.0]], dtype=dtype)
    assert eq.best(score).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]


def test_the_best_and_the_worst_of_a_group() -> None:
    """The first of equals, and nobody in a group of equals."""
    score = torch.tensor([[1.0, 3.0, 3.0, -2.0], [4.0, 4.0, 4.0, 4.0], [0.0, -1.0, 2.0, 1.0]])
    assert eq.best(score).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert eq.best_and_worst(score).tolist() == [[0, 1, 0, -1], [0, 0, 0, 0], [0, -1, 1, 0]]
    assert eq.differing_groups(score).tolist() == [True, False, True]
