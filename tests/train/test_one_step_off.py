"""One-step-off rollouts: which weights sample a step, what is corrected, and runs that stop and continue."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from align_lab.base import registry
from align_lab.base.errors import RewardError, SamplerError, Stopped
from align_lab.base.settings import Evaluation, Sampling
from align_lab.base.task import Failure, Score
from align_lab.models.logp import response_logps
from align_lab.rollout.sampler import Pending, uniforms
from align_lab.rollout.torch_sampler import TorchSampler, sample
from align_lab.run import inherit
from align_lab.train.one_step_off import OneStepOff
from tests.train.ranks import ranks, together
from tests.train.small import CountWord, algorithm, loop, rows

registry.scan()
CAP, NEW, G = 1.3, 8, 4
NAMES = [
    name
    for name in registry.names("algo")
    if (needs := algorithm(name).needs).samples and not (needs.pairs or needs.rounds or needs.refills)
]


def off(name="rloo", *, world=None, reward=None, sampler=None, **plan):
    """A loop whose completions are one step old."""
    fields = {"ppo_max": {"critic_init": "policy", "critic_pretrain_steps": 0}}.get(name, {})
    it = loop(algorithm(name, **fields), dtype=torch.float64, reward=reward, **{"lr": 0.03, **plan})
    it.importance_cap = CAP
    rollouts = replace(it.source, sampler=sampler or TorchSampler())
    if world is not None:
        rollouts.world = it.world = world
        it.evaluate = replace(it.evaluate, world=world)
    it.source = OneStepOff(rollouts=rollouts)
    return it


def weights(it):
    return torch.cat([parameter.detach().flatten() for parameter in it.learner.policy.parameters()]).clone()


def watched(it):
    """Run to the end. Returns each step's experience, with a copy of the policy that it begins with."""
    seen, collect = [], it.source.collect

    def watching(step, *, groups):
        policy = copy.deepcopy(it.learner.policy)
        seen.append((collect(step, groups=groups), policy))
        return seen[-1][0]

    it.source.collect = watching
    it.run()
    return seen


@torch.no_grad()
def logps(policy, experience):
    mask = experience.rollout.mask
    ids, pad = experience.ids.flatten(0, 1), experience.pad.flatten()
    return response_logps(policy, ids, pad, mask.flatten(0, 1), temperature=0.7).view(mask.shape)


def drawn_by(policy, it, step, experience):
    """The tokens that this policy draws for the prompts of an experience, with the random numbers of its step."""
    rollouts = it.source.rollouts
    prompts = [
        ids[pad : len(ids) - experience.rollout.mask.shape[-1]].tolist()
        for ids, pad in zip(experience.ids[:, 0], experience.pad[:, 0], strict=True)
    ]
    known = [list(ids) for ids in rollouts.prompts.ids]
    indices = [known.index(ids) for ids in prompts]
    passes = [step * len(indices) // len(known)] * len(indices)
    ids, pad = rollouts.prompts.batch(indices)
    numbers = uniforms(0, step, indices, G, NEW, passes=passes)
    return sample(policy, ids, pad, uniforms=numbers, temperature=0.7, eos=rollouts.prompts.eos)


def test_a_step_is_sampled_by_the_weights_of_before_the_update_of_the_step_before_it():
    """Of four steps with large updates, tokens and both log-probabilities are computed here from copies of weights."""
    it = off(steps=4)
    seen = watched(it)
    changed = 0
    for step, (collected, own) in enumerate(seen):
        before = seen[max(0, step - 1)][1]
        experience, mask = collected.experience, collected.experience.rollout.mask
        expected, other = (drawn_by(policy, it, step, experience) for policy in (before, own))
        T = mask.shape[-1]
        tokens = experience.ids[..., -T:][mask]
        assert torch.equal(tokens, expected.tokens[:, :T].view(mask.shape)[mask])
        changed += not torch.equal(expected.tokens, other.tokens)
        torch.testing.assert_close(experience.rollout.logp_old[mask], logps(own, experience)[mask])
        if step:
            torch.testing.assert_close(experience.rollout.logp_sampler[mask], logps(before, experience)[mask])
    assert changed >= 2  # the updates are large enough to tell the two apart
    assert seen[0][0].experience.rollout.logp_sampler is None
    assert [collected.metrics["sampling/staleness"] for collected, _ in seen] == [0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", NAMES)
def test_each_token_is_weighted_by_the_ratio_of_the_two_policies_up_to_the_cap(name):
    it = off(name, steps=9)
    it.state, start = it.algo.init_state(), copy.deepcopy(it.learner.policy)
    it.advance()
    collected = it._collect(1)
    rollout, mask = collected.experience.rollout, collected.experience.rollout.mask
    advantage, _ = it.algo.advantages(rollout, it.state)
    weighted = it._importance_weighted(advantage, rollout).advantage
    ratio = (logps(it.learner.policy, collected.experience) - logps(start, collected.experience)).exp()
    assert ratio[mask].max() > CAP > 1 > ratio[mask].min()
    weight = ratio.clamp(max=CAP) if it.algo.needs.on_policy else torch.ones_like(ratio)
    torch.testing.assert_close(weighted[mask], (advantage.advantage * weight)[mask])


@pytest.mark.parametrize("name", ["rloo", "remax", "grpo"])
def test_without_learning_it_is_the_run_of_the_current_policy(name):
    """Steps, prompts, completions, costs: all but what rounding does, and what is logged of the two policies alone."""
    it = off(name, lr=1e-300)
    plain = loop(algorithm(name), dtype=torch.float64, lr=1e-300)
    it.run()
    plain.run()
    for row, other in zip(rows(it), rows(plain), strict=True):
        common = {key: value for key, value in row.items() if not key.startswith(("sampling/", "budget/flops"))}
        without = {key: value for key, value in other.items() if key != "budget/flops"}
        assert common == pytest.approx(without, rel=1e-6, abs=1e-9)
    assert [row.get("sampling/kl") for row in rows(it)[2:]] == pytest.approx([0.0] * 3, abs=1e-12)


@pytest.mark.parametrize("name", ["rloo", "remax", "ppo"])
def test_a_run_that_stops_between_two_steps_continues_to_the_bit(name):
    whole = off(name)
    whole.run()
    assert "asked" in whole.journal.saved[2]["source"]
    resumed = off(name)
    resumed.load_state_dict(whole.journal.saved[2])
    resumed.start_rows = [row for row in whole.journal.samples if row["step"] == 0]
    resumed.run()
    assert rows(resumed) == rows(whole)[3:]
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize("name", ["rloo", "remax"])
def test_two_processes_take_the_steps_of_one_and_continue_its_checkpoint(name):
    alone = off(name)
    alone.run()
    for state in (None, alone.journal.saved[2]):
        worlds = ranks(2)
        loops = [off(name, world=world, micro_batch=4) for world in worlds]

        def work(it, state=state):
            if state is not None:
                it.load_state_dict(copy.deepcopy(state))
                it.start_rows = [row for row in alone.journal.samples if row["step"] == 0]
            it.run()

        done = together([lambda it=it: work(it) for it in loops], worlds[0].meeting)
        assert done == [None, None]
        for it in loops:
            torch.testing.assert_close(weights(it), weights(alone), rtol=0, atol=1e-9)
            for a, b in zip(rows(it), rows(alone)[-len(rows(it)) :], strict=True):
                assert a == pytest.approx(b, abs=1e-8)


class Logged(TorchSampler):
    """A sampler that notes when it is asked and when its completions are taken."""

    def __init__(self):
        super().__init__()
        self.events = []

    def begin(self, *args, **kwargs):
        pending = super().begin(*args, **kwargs)
        number = sum(event[0] == "asked" for event in self.events)
        self.events.append(("asked", number))

        def wait():
            self.events.append(("taken", number))
            return pending.samples

        return Pending(wait=wait)


def events_of(**plan):
    sampler = Logged()
    it = off(sampler=sampler, **plan)
    it.save_every = it.evaluate_every = 100  # a checkpoint takes what was asked for as well
    step = it.learner.step

    def learning(*args, **kwargs):
        sampler.events.append(("update", kwargs["number"]))
        return step(*args, **kwargs)

    it.learner.step = learning
    it.run()
    return sampler.events, it


def test_the_next_completions_are_asked_for_before_the_update_and_taken_after_it():
    events, _ = events_of(steps=3)
    assert events == [
        ("asked", 0), ("taken", 0), ("asked", 1), ("update", 0),
        ("taken", 1), ("asked", 2), ("update", 1),
        ("taken", 2), ("update", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("limit", ["episodes", "tokens"])
def test_nothing_is_asked_for_after_the_step_with_which_a_budget_ends(limit):
    counted = off(steps=4)
    counted.run()
    charged = {"episodes": 32, "tokens": int(rows(counted)[2]["budget/tokens"])}[limit]
    events, it = events_of(steps=9, budget={limit: charged})
    assert it.progress.step == 2 and ("asked", 1) in events and ("asked", 2) not in events
    assert rows(it)[-1]["budget/tokens"] == rows(counted)[2]["budget/tokens"] and it.progress.episode == 32


class Failing(CountWord):
    """Fails in one call for training."""

    def __init__(self, call):
        super().__init__("good")
        self.call, self.calls = call, 0

    def score(self, examples, completions):
        self.calls += 1
        if self.calls == self.call:
            return Score(total=[Failure("gone")] * len(completions))
        return super().score(examples, completions)


def test_a_reward_that_fails_leaves_the_step_as_it_was_and_the_run_continues_to_the_bit():
    whole = off()
    whole.run()
    it = off(reward=Failing(3))  # in the third step, whose completions were asked for in the second
    it.save_every = it.evaluate_every = 100
    with pytest.raises(RewardError):
        it.run()
    assert max(it.journal.saved) == 2
    resumed = off()
    resumed.load_state_dict(it.journal.saved[2])
    resumed.start_rows = [row for row in it.journal.samples if row["step"] == 0]
    resumed.run()
    assert torch.equal(weights(resumed), weights(whole))


class Lost(TorchSampler):
    """Completions that were asked for in the third step never come."""

    asked = 0

    def begin(self, *args, **kwargs):
        self.asked += 1
        pending = super().begin(*args, **kwargs)

        def wait():
            raise SamplerError("gone")

        return Pending(wait=wait) if self.asked == 4 else pending


def test_completions_that_are_lost_are_sampled_again_by_the_weights_that_they_were_asked_of():
    """The run continues from the newest checkpoint of before they were asked for: a later one would lack them."""
    whole = off(steps=5)
    whole.run()
    it = off(steps=5, sampler=Lost())
    with pytest.raises(SamplerError):
        it.run()
    assert max(it.journal.saved) == 2
    resumed = off(steps=5)
    resumed.load_state_dict(it.journal.saved[2])
    resumed.start_rows = [row for row in it.journal.samples if row["step"] == 0]
    resumed.run()
    assert torch.equal(weights(resumed), weights(whole))


def test_a_requested_stop_saves_what_was_asked_for():
    it = off()
    it.save_every = it.evaluate_every = 100
    it.should_stop = lambda: it.progress.step == 1
    with pytest.raises(Stopped):
        it.run()
    assert it.journal.saved[1]["source"]["asked"]["place"] == {"step": 1, "groups": 4, "first": 4}


@pytest.mark.parametrize(("staleness", "usable"), [(0, True), (1, False)])
def test_a_longer_run_does_not_go_on_from_the_last_step_of_a_shorter_one(staleness, usable):
    """The shorter one has asked for nothing after it; from an earlier step the longer one can go on."""
    config = SimpleNamespace(evaluation=Evaluation(every=2), sampling=Sampling(staleness=staleness, importance_cap=2.0))
    assert inherit._is_usual(4, 4, config) == usable and inherit._is_usual(2, 4, config)
