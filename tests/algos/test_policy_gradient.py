"""The family with switches: with the settings of each paper it is that paper's algorithm."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from align_lab.algos.policy_gradient import AGGREGATIONS, BASELINES, KL_FORMS, NORMALIZATIONS, PolicyGradient
from align_lab.testing.random_experience import LONGEST, Experience, evaluate, experience, rollout
from tests.algos.examples import build


def on_policy(seed: int) -> Experience:
    """The policy that is trained is the one that sampled."""
    w = experience(seed, P=4, G=3)
    return {**w, "logp": w["logp_old"]}


@pytest.mark.parametrize("seed", range(3))
def test_with_the_settings_of_rloo_the_first_update_is_that_of_rloo(seed):
    ours = PolicyGradient(aggregation="sequence_sum", clip=float("inf"))
    a, b = evaluate(build("rloo"), on_policy(seed)), evaluate(ours, on_policy(seed))
    torch.testing.assert_close(a.advantage, b.advantage)
    torch.testing.assert_close(a.grads[0], b.grads[0])


@pytest.mark.parametrize("seed", range(3))
def test_with_the_settings_of_grpo_it_is_grpo_at_any_update(seed):
    fields = {"baseline": "group_mean", "normalization": "group", "kl": "k3_loss", "kl_coef": 0.04}
    ours = PolicyGradient(**fields, aggregation="sequence_mean")
    a, b = evaluate(build("grpo"), experience(seed, G=4)), evaluate(ours, experience(seed, G=4))
    torch.testing.assert_close((a.advantage, a.loss, a.grads), (b.advantage, b.loss, b.grads))


@pytest.mark.parametrize("seed", range(3))
def test_with_the_settings_of_reinforce_pp_it_is_reinforce_pp_at_any_update(seed):
    ours = PolicyGradient(baseline="none", normalization="batch", kl="token_reward", kl_coef=0.01)
    a, b = evaluate(build("reinforce_pp"), experience(seed)), evaluate(ours, experience(seed))
    torch.testing.assert_close((a.advantage, a.loss, a.grads), (b.advantage, b.loss, b.grads))


def test_with_the_settings_of_reinforce_it_has_the_same_moving_average():
    ours, theirs = PolicyGradient(baseline="moving_average", aggregation="sequence_sum"), build("reinforce")
    state, other = ours.init_state(), theirs.init_state()
    for seed in range(3):
        w = on_policy(seed)
        a, state = ours.advantages(rollout(w), state)
        b, other = theirs.advantages(rollout(w), other)
        torch.testing.assert_close(a.advantage, b.advantage)


def test_every_combination_has_a_finite_loss_and_a_gradient():
    w = experience(7, P=4, G=3, holes=True)
    for baseline, normalization, kl, aggregation in itertools.product(
        BASELINES, NORMALIZATIONS, KL_FORMS, AGGREGATIONS
    ):
        algo = PolicyGradient(baseline=baseline, normalization=normalization, kl=kl, aggregation=aggregation)
        result = evaluate(algo, w)
        assert result.loss.isfinite() and result.grads[0].abs().sum() > 0, algo


def test_the_constant_of_the_aggregation_is_the_longest_completion_that_sampling_allows():
    """So the loss does not depend on how long the completions of a batch happen to be."""
    w = experience(8)
    ours = PolicyGradient(aggregation="constant", kl="none")
    summed = PolicyGradient(aggregation="sequence_sum", kl="none")
    torch.testing.assert_close(evaluate(ours, w).loss, evaluate(summed, w).loss / LONGEST)


def test_only_what_is_used_is_asked_for():
    assert not PolicyGradient(kl="none").needs.reference
    assert PolicyGradient(baseline="none", kl="none").needs.min_group_size == 1
    assert PolicyGradient(baseline="none", normalization="group").needs.min_group_size == 2
    assert dataclasses.replace(PolicyGradient(), kl_coef=0.0).needs.reference is False
