"""Draws and micro-batches against their definitions, for every small size."""

from __future__ import annotations

import itertools

import pytest
import torch

from align_lab.rollout.sampler import uniforms
from align_lab.train.draws import draw, passes, permutation
from align_lab.train.micro_batch import sizes


@pytest.mark.parametrize("total", [1, 2, 3, 5])
def test_draws_are_consecutive_parts_of_one_endless_sequence_of_passes(total):
    orders = [permutation(total, "pass", 7, number) for number in range(12)]
    endless = torch.cat(orders)
    for first, count in itertools.product(range(2 * total + 1), range(3 * total + 1)):
        assert torch.equal(draw(total, count, first, seed=7), endless[first : first + count])
        assert passes(total, count, first).tolist() == [place // total for place in range(first, first + count)]
    assert all(sorted(order.tolist()) == list(range(total)) for order in orders)


def test_micro_batches_split_the_groups_of_a_minibatch_into_equal_parts():
    assert sizes(1) == [1] and sizes(4) == [4, 2, 1] and sizes(6) == [6, 3, 2, 1] and sizes(7) == [7, 4, 3, 2, 1]


def test_no_prompts_have_no_random_numbers():
    assert uniforms(0, 0, [], 2, 5).shape == (0, 5)
