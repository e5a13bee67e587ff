"""The critic: the weights that it starts with, its values, and the steps that train it alone."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from safetensors.torch import load_file

from align_lab.models.policy import load_policy
from tests.wiring.by_hand import number_of, recorded_steps, rows_of, texts, values
from tests.wiring.conftest import REWARD_MODEL
from tests.wiring.test_pairs import reordered

FROM_POLICY = {"critic_init": "policy"}


def same(a, b):
    """Have two models the same weights under the same names?"""
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name].double(), b[name].double()) for name in a)


@pytest.mark.parametrize(("name", "fields"), [("ppo", {}), ("ppo_max", FROM_POLICY)])
def test_a_critic_of_the_policy_has_its_weights_and_a_head_of_zeros(run, name, fields):
    it = run(f"algo={name}", algo=fields)
    critic = it.loop.learner.critic
    assert same(critic.backbone, it.start.model)
    assert not critic.head.any()
    assert critic.backbone is not it.loop.learner.policy  # a model of its own


def test_a_critic_of_the_reward_model_has_its_weights_and_its_head(run):
    it = run("algo=ppo_max", reward=REWARD_MODEL)
    folder = it.built["reward"].path
    critic = it.loop.learner.critic
    assert same(critic.backbone, load_policy(folder).model)
    assert not same(critic.backbone, it.start.model)
    head = load_file(folder / "head.safetensors")["head"]
    torch.testing.assert_close(critic.head.detach(), head.squeeze(0).double(), rtol=0, atol=0)
    assert head.abs().max() > 1e-3


def test_at_the_last_token_the_critic_of_the_reward_model_is_its_score_up_to_the_center(run):
    it = run("algo=ppo_max", "sampling.missing_eos_penalty=0", reward=REWARD_MODEL)
    ((got, _),) = recorded_steps(it, 1)
    center = float(load_file(it.built["reward"].path / "head.safetensors")["center"])
    start = copy.deepcopy(run("algo=ppo_max", reward=REWARD_MODEL).loop.learner.critic)
    for row in rows_of(got.experience):
        prompt, completion, ended = texts(it, row)
        if ended and it.start.tokenizer.encode(prompt + completion).ids == row.prompt + row.completion[:-1]:
            own = start.backbone.hidden(torch.tensor([row.prompt + row.completion]))[0, -1] @ start.head
            assert float(own.detach()) - center == pytest.approx(
                float(got.experience.rollout.score[row.place]), abs=1e-4
            )
            assert number_of(prompt) < 10


@pytest.mark.parametrize(("name", "fields", "reward"), [("ppo", {}, {}), ("ppo_max", {}, {"reward": REWARD_MODEL})])
def test_a_value_is_the_head_on_the_state_before_its_token(run, name, fields, reward):
    it = run(f"algo={name}", algo=fields, **reward)
    it.loop.state = it.loop.algo.init_state()
    it.loop.advance()
    before = copy.deepcopy(it.loop.learner.critic)
    got = it.loop.source.collect(1, groups=4)
    for row in rows_of(got.experience):
        own = got.experience.rollout.value[row.place]
        torch.testing.assert_close(own[: len(row.completion)], values(before, row).detach(), rtol=0, atol=1e-9)
        assert not own[len(row.completion) :].any()
    assert got.experience.rollout.value.abs().max() > 1e-4


def test_the_loss_gets_the_values_of_the_critic_that_is_trained(run):
    it = run("algo=ppo", "train.epochs=2")
    ((got, _),) = recorded_steps(it, 1)
    (first, old), (second, _) = it.algo.calls
    experience = reordered(it, got.experience)
    torch.testing.assert_close(first.value.detach() * old.mask, old.value, rtol=0, atol=1e-9)
    assert (second.value - experience.rollout.value).abs().max() > 1e-6


def test_the_first_steps_train_the_critic_alone(run):
    it = run("algo=ppo_max", "train.steps=4", algo={**FROM_POLICY, "critic_pretrain_steps": 2, "ptx_coef": 0.1})
    it.loop.state = it.loop.algo.init_state()
    learner, policies, heads, rates = it.loop.learner, [], [], []
    for _ in range(4):
        policies.append(copy.deepcopy(learner.policy))
        heads.append(learner.critic.head.detach().clone())
        rates.append(it.loop.advance()["lr"])
    assert same(policies[0], policies[2]) and not same(policies[2], policies[3])
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(heads))
    assert rates == pytest.approx([0, 0, 0.003, 0.003])
