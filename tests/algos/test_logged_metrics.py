"""What algorithms log beside their loss, against plain computation."""

from __future__ import annotations

import dataclasses

import pytest

from align_lab.testing.random_experience import batch, experience, policy_output, rollout, statistics
from tests.algos.examples import ALGORITHMS, build

PENALTY_IN_THE_LOSS = ("cispo", "dr_grpo", "grpo", "gspo", "reinforce_pp_baseline")  # or none


@pytest.mark.parametrize("name", PENALTY_IN_THE_LOSS)
def test_without_a_penalty_in_the_reward_the_optimized_reward_is_the_score(name: str) -> None:
    """Whatever the reference says."""
    w, algo = experience(5), build(name)
    metrics = algo.advantages(rollout(w), algo.init_state())[0].metrics
    assert float(metrics["objective/non_score_reward"]) == 0.0
    assert float(metrics["objective/rlhf_reward"]) == pytest.approx(float(w["score"].mean()))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_no_metric_has_a_gradient(name: str) -> None:
    """A metric that is kept would keep the graph of its step."""
    algo = build(name)
    if "kl_coef" in {field.name for field in dataclasses.fields(algo)}:
        algo = dataclasses.replace(algo, kl_coef=0.3)
    w = experience(6)
    advantages, _ = algo.advantages(rollout(w), algo.init_state())
    x = batch(w, advantages, statistics=statistics(algo, w, advantages))
    now = policy_output(algo, {**w, "logp": w["logp"].clone().requires_grad_()})
    assert now.logp.requires_grad
    assert not [name for name, value in algo.loss(now, x).metrics.items() if value.requires_grad]


@pytest.mark.parametrize("name", ["sail_dp", "sail_pp"])
def test_the_share_of_pairs_that_the_policy_labels_is_logged(name: str) -> None:
    """SAIL-DP draws which pairs with its first random number; SAIL-PP labels what was sampled."""
    w, algo = experience(7, P=8, G=2), build(name, share=0.4)
    advantages, _ = algo.advantages(rollout(w), algo.init_state())
    metrics = algo.loss(policy_output(algo, w), batch(w, advantages)).metrics
    own = (w["noise"][:, 0] < 0.4) if name == "sail_dp" else w["origin"] == 1
    assert 0 < int(own.sum()) < 8
    assert float(metrics["rewards/policy_labels"]) == pytest.approx(int(own.sum()) / 8)
