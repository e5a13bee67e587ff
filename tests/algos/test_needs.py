"""What each algorithm needs from the loop, as its paper describes the algorithm."""

from __future__ import annotations

import dataclasses

import pytest

from tests.algos.examples import NAMES, build

PAIRS = {"cpo", "dpo", "ipo", "kto", "orpo", "sail_dp", "simpo", "slic_hf", "slic_norm"}  # learn from a set of pairs
MIXTURES = {"sail_pp", "sail_pr", "sail_released"}  # of pairs and completions of the policy
CRITIC = {"ppo", "ppo_max", "vanilla_pg"}
ALONE = {
    *CRITIC,
    "kto",
    "reinforce",
    "reinforce_pp",
    "remax",
    "remax_released",
}  # use a completion without others of its prompt
ONLINE_PAIRS = {"online_dpo", "iterative_dpo"}
PREFERENCES_WITH_REFERENCE = {"dpo", "ipo", "kto", "sail_dp", "slic_norm", *MIXTURES, *ONLINE_PAIRS}
NO_RATIO = {"reinforce", "remax", "remax_released", "rloo", "vanilla_pg"}  # the policy gradient itself
NOT_THE_POLICY_GRADIENT = {"raft", *ONLINE_PAIRS, *MIXTURES}  # a loss on what was sampled
SWITCHED_OFF = {"sail_pp": "pi", "sail_pr": "gamma", "sail_released": "coef"}  # the score function of sampling

every = pytest.mark.parametrize("name", [name for name in NAMES if name != "policy_gradient"])


@every
def test_where_its_experience_comes_from(name: str) -> None:
    """From pairs alone, from a mixture with the share of its field, or from sampling."""
    algo = build(name)
    assert algo.needs.pairs == (1.0 if name in PAIRS else 1 - algo.share if name in MIXTURES else 0.0)
    assert algo.needs.paired == (name != "kto")


@every
def test_a_completion_is_compared_with_others_of_its_prompt_where_no_critic_or_average_replaces_them(name: str) -> None:
    """A comparison needs two."""
    assert build(name).needs.min_group_size == (1 if name in ALONE else 2)
    assert build(name).needs.max_group_size == (2 if name in MIXTURES else None)


@every
def test_a_reference_is_needed_for_a_penalty_or_an_implicit_reward(name: str) -> None:
    """And not with a coefficient of 0."""
    algo = build(name)
    if "kl_coef" not in {field.name for field in dataclasses.fields(algo)}:
        assert algo.needs.reference == (name in PREFERENCES_WITH_REFERENCE)
        return
    assert dataclasses.replace(algo, kl_coef=0.5).needs.reference
    assert not dataclasses.replace(algo, kl_coef=0.0).needs.reference


@every
def test_who_needs_a_critic_a_greedy_completion_or_random_numbers(name: str) -> None:
    """PPO and its relatives; ReMax's baseline; SAIL's own labels."""
    needs = build(name).needs
    assert (needs.critic is not None) == (name in CRITIC)
    assert needs.greedy == (name in {"remax", "remax_released"})
    assert needs.noise == (name in {"sail_dp", "sail_pp", "sail_released"})
    assert (needs.mismatched, needs.statistics) == ((True, True) if name == "kto" else (False, False))


@every
def test_a_loss_without_a_ratio_is_right_for_one_update_alone(name: str) -> None:
    """Afterwards the policy is no longer the one that sampled."""
    algo = build(name)
    assert algo.needs.single_update == (name in NO_RATIO or name in SWITCHED_OFF)
    if name in SWITCHED_OFF:
        assert not dataclasses.replace(algo, **{SWITCHED_OFF[name]: 0.0}).needs.single_update


@every
def test_only_a_policy_gradient_is_an_expectation_over_the_policys_own_samples(name: str) -> None:
    """Only its term can be weighted by the sampler's ratio."""
    assert build(name).needs.on_policy == (name not in NOT_THE_POLICY_GRADIENT)


@pytest.mark.parametrize(
    "baseline, size", [("none", 1), ("moving_average", 1), ("group_mean", 2), ("leave_one_out", 2)]
)
def test_the_factors_of_the_policy_gradient_need_what_they_compare_with(baseline: str, size: int) -> None:
    """A baseline within the group needs a group, and any KL form but `none` a reference."""
    algo = build("policy_gradient", baseline=baseline, normalization="none", kl="none")
    assert algo.needs.min_group_size == size
    assert not algo.needs.reference
    for kl in ("sequence_reward", "token_reward", "k2_loss", "k3_loss"):
        assert dataclasses.replace(algo, kl=kl, kl_coef=0.1).needs.reference
    assert dataclasses.replace(algo, normalization="group").needs.min_group_size == 2
