"""Every registered algorithm, and every variant of it, keeps the contract of its kind (`align_lab.testing`)."""

from __future__ import annotations

import pytest

from align_lab.testing import assert_contract
from align_lab.testing.random_experience import batch, experience, policy_output, rollout, statistics
from tests.algos.examples import ALGORITHMS, build

every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


@every_algorithm
def test_it_keeps_the_contract(name: str) -> None:
    """Settings, advantages, loss, metrics and state."""
    fields = {**ALGORITHMS[name]}
    assert_contract("algo", fields.pop("name"), **fields)


@every_algorithm
def test_groups_of_two_are_enough(name: str) -> None:
    """The default config has groups of four, and preference pairs are groups of two."""
    assert build(name).needs.min_group_size <= 2


@every_algorithm
def test_its_loss_is_recorded_under_one_name(name: str) -> None:
    """The record and the trackers plot it for all algorithms."""
    algorithm, w = build(name), experience(4)
    advantages, _ = algorithm.advantages(rollout(w), algorithm.init_state())
    x = batch(w, advantages, statistics=statistics(algorithm, w, advantages))
    assert "loss/policy_avg" in algorithm.loss(policy_output(algorithm, w), x).metrics
