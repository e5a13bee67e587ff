"""Where the experience of a step comes from: mixtures, rounds, refills, and random numbers that never coincide."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from align_lab.base.random import stream
from align_lab.rollout.sampler import Sampler, uniforms
from align_lab.train.draws import permutation
from tests.wiring.by_hand import Row, assert_logps, differ, number_of, recorded_steps, rows_of, texts
from tests.wiring.parts import true_score


def asks(**fields):
    return {"name": "asks", **fields}


@pytest.mark.parametrize("share", [0.25, 0.5, 0.3])
def test_a_mixture_has_its_share_of_pairs_so_far_to_within_a_group(run, share):
    it = run("algo=rloo", "train.group_size=2", algo=asks(pairs=share), preferences={"pairs": 12})
    assert it.loop.groups == 4
    total = 0
    for step, (got, _) in enumerate(recorded_steps(it, 6), start=1):
        origin = got.experience.rollout.origin
        assert len(origin) == 4
        assert int((origin == 1).sum()) >= math.floor((1 - share) * 4)  # what composition compares with the processes
        total += int((origin == 0).sum())
        assert share * 4 * step - 1 < total <= share * 4 * step + 1e-9
    assert total in (6, 12, 7)


def test_the_pairs_of_a_mixture_are_of_the_set_and_the_others_of_the_policy_of_the_step(run):
    it = run("algo=rloo", "train.group_size=2", "train.lr=0.03", algo=asks(pairs=0.5), preferences={"pairs": 12})
    stored = {round(float(x), 9) for x in it.loop.source.pairs.experience.rollout.logp_old.sum((1, 2))}
    for got, before in recorded_steps(it, 3):
        origin = got.experience.rollout.origin
        pairs, sampled = (got.experience.take((origin == kind).nonzero().squeeze(1)) for kind in (0, 1))
        assert_logps(pairs.rollout.logp_old, pairs, it.start.model, 0.7)
        assert_logps(sampled.rollout.logp_old, sampled, before, 0.7)
        assert_logps(got.experience.rollout.logp_ref, got.experience, it.start.model, 0.7)
        assert {round(float(x), 9) for x in pairs.rollout.logp_old.sum((1, 2))} <= stored
        assert (pairs.rollout.score[:, 0] > pairs.rollout.score[:, 1]).all()
        assert got.ended == int(sampled.rollout.mask.sum() and sum(r.completion[-1] == 0 for r in rows_of(sampled)))
    assert differ(sampled.rollout.logp_old, sampled, it.start.model, 0.7)


def test_a_mixture_costs_what_both_sources_cost(run):
    it = run("algo=rloo", "train.group_size=2", algo=asks(pairs=0.5), preferences={"pairs": 12})
    mixture = it.loop.source
    alone = run("algo=dpo", "train.group_size=2", preferences={"pairs": 12}).loop.source
    got, pairs = mixture.collect(0, groups=4), alone.collect(0, groups=2)
    assert got.episodes == pairs.episodes + 4 and got.labels == pairs.labels + 4
    sampled = got.experience.rollout.origin == 1
    assert got.tokens == pairs.tokens + int(got.experience.rollout.mask[sampled].sum())


@pytest.mark.parametrize("reference", ["start", "round"])
def test_a_round_is_sampled_by_the_policy_that_it_begins_with(run, reference):
    it = run("algo=rloo", "train.lr=0.03", "train.steps=5", algo=asks(rounds=2, round_reference=reference))
    taken = recorded_steps(it, 5)
    for step, (got, before) in enumerate(taken):
        _, of_round = taken[step - step % 2]
        assert_logps(got.experience.rollout.logp_old, got.experience, of_round, 0.7)
        expected = it.start.model if reference == "start" else of_round
        assert_logps(got.experience.rollout.logp_ref, got.experience, expected, 0.7)
        if step % 2:
            assert differ(got.experience.rollout.logp_old, got.experience, before, 0.7)
        if step >= 2:
            assert differ(got.experience.rollout.logp_old, got.experience, it.start.model, 0.7)
    prompts = [texts(it, row)[0] for got, _ in taken[:2] for row in rows_of(got.experience)][::4]
    assert len(set(prompts)) == 8


def test_the_steps_of_a_round_use_the_prompts_in_the_order_in_which_other_runs_do(run):
    drawn = []
    for rounds in (0, 2):
        it = run("algo=rloo", algo=asks(rounds=rounds))
        taken = recorded_steps(it, 4)
        drawn.append([[texts(it, row)[0] for row in rows_of(got.experience)][::4] for got, _ in taken])
    assert drawn[0] == drawn[1]


def test_the_most_likely_completion_is_scored_with_its_prompt_and_the_penalty(run):
    it = run("algo=rloo", "train.lr=0.03", "sampling.max_new_tokens=4", algo=asks(greedy=True))
    got, before = recorded_steps(it, 2)[-1]
    rollout = got.experience.rollout
    for p, row in enumerate(rows_of(got.experience)[::4]):
        ids = list(row.prompt)
        while len(ids) < len(row.prompt) + 4 and (len(ids) == len(row.prompt) or ids[-1] != 0):
            ids.append(int((before.hidden(torch.tensor([ids]))[0, -1] @ before.head.t()).argmax()))
        prompt, completion, ended = texts(it, Row((p, 0), row.prompt, ids[len(row.prompt) :]))
        expected = true_score(number_of(prompt), completion) - (not ended)
        assert float(rollout.score_greedy[p]) == pytest.approx(expected, abs=1e-6)


def test_a_truncated_nucleus_samples_likely_tokens_alone_and_keeps_the_whole_distributions_log_probabilities(run):
    it = run("algo=rloo", "sampling.top_p=0.5")
    ((got, before),) = recorded_steps(it, 1)
    assert_logps(got.experience.rollout.logp_old, got.experience, before, 0.7)
    for row in rows_of(got.experience):
        states = before.hidden(torch.tensor([row.prompt + row.completion]))[0][len(row.prompt) - 1 : -1]
        p = (states @ before.head.t() / 0.7).softmax(-1)
        for own, token in zip(p, row.completion, strict=True):
            assert float(own[own > own[token]].sum().detach()) < 0.5


def test_streams_of_other_purposes_and_keys_differ():
    names = [("a", 3, 7), ("a", 3, 7, 0), ("a", 3, 7, 0, 0), ("a", 37), ("b", 3, 7), ("a", 7, 3), ("a", 3), ("a",)]
    drawn = [stream(*name).integers(1 << 62) for name in names]
    assert len(set(drawn)) == len(names)
    assert stream("a", 3, 7).integers(1 << 62) == drawn[0]


def test_random_numbers_of_other_steps_passes_prompts_samples_and_purposes_differ():
    a = uniforms(3, 7, [0, 1], 2, 5)
    others = [
        uniforms(4, 7, [0, 1], 2, 5),
        uniforms(3, 8, [0, 1], 2, 5),
        uniforms(3, 7, [0, 1], 2, 5, passes=[1, 1]),
        uniforms(3, 7, [0, 1], 2, 5, purpose="evaluation"),
        uniforms(3, 7, [0, 1], 2, 5, purpose="noise"),
    ]
    rows = torch.cat([a, *others])
    assert len({tuple(row) for row in rows.tolist()}) == 24
    assert torch.equal(uniforms(3, 7, [1], 2, 5), a[2:])  # a row does not depend on the others
    orders = [
        tuple(permutation(30, *name).tolist()) for name in (("epoch", 1, 2, 0), ("epoch", 1, 2, 1), ("pass", 1, 2))
    ]
    assert len(set(orders)) == 3


class Watching(Sampler):
    """A sampler that keeps the random numbers that it is given."""

    exact = True

    def __init__(self, inner, drawn):
        self.inner, self.drawn = inner, drawn

    def __call__(self, *inputs, **options):
        self.drawn.append(options["uniforms"])
        return self.inner(*inputs, **options)

    def release_device(self):
        pass


def test_no_two_evaluation_sets_share_a_random_number_and_the_first_has_those_that_it_has_alone(run):
    def drawn_for(*sets):
        it, drawn = run("algo=rloo", evaluation={"sets": list(sets), "prompts": 4}), []
        dataclasses.replace(it.loop.evaluate, sampler=Watching(it.loop.evaluate.sampler, drawn))(
            it.loop.learner, step=0
        )
        return drawn

    near, far = drawn_for("near", "far")
    assert near.shape == far.shape == (4, 6)
    assert not set(near.flatten().tolist()) & set(far.flatten().tolist())
    (alone,) = drawn_for("near")
    assert torch.equal(near, alone) and torch.equal(alone, uniforms(20_000, 0, range(4), 1, 6, purpose="evaluation"))


def test_training_and_evaluation_with_one_seed_share_no_random_number(run):
    it = run("algo=rloo", "seed=5", evaluation={"seed": 5})
    drawn: list[torch.Tensor] = []
    it.loop.source.sampler = Watching(it.loop.source.sampler, drawn)
    it.loop.source.collect(0, groups=4)
    it.loop.source.collect(1, groups=4)
    trained = set(torch.cat([one.flatten() for one in drawn]).tolist())
    assert len(trained) > 0.99 * 2 * 16 * 6
    drawn.clear()
    dataclasses.replace(it.loop.evaluate, sampler=it.loop.source.sampler)(it.loop.learner, step=0)
    evaluated = set(torch.cat([one.flatten() for one in drawn]).tolist())
    assert len(evaluated) > 20 and not trained & evaluated


def test_runs_with_other_seeds_share_no_random_number(run):
    taken = []
    for seed in (5, 6):
        it, drawn = run("algo=rloo", f"seed={seed}"), []
        it.loop.source.sampler = Watching(it.loop.source.sampler, drawn)
        it.loop.source.collect(0, groups=8)  # all prompts, whatever their order
        taken.append({number for one in drawn for number in one.flatten().tolist()})
    assert len(taken[0]) > 20 and not taken[0] & taken[1]


def test_every_evaluation_has_the_same_random_numbers(run):
    it = run("algo=rloo")
    first, second = (it.loop.evaluate(it.loop.learner, step=step) for step in (0, 2))
    assert [row["completion"] for row in first] == [row["completion"] for row in second]
    assert {row["win"] for row in first} == {0.5}


def test_the_win_over_the_start_policy_is_counted_prompt_by_prompt(run):
    it = run("algo=rloo", "train.lr=0.1")
    start = it.loop.evaluate(it.loop.learner, step=0)
    recorded_steps(it, 2)
    rows = it.loop.evaluate(it.loop.learner, step=2, start=start)
    for row, before in zip(rows, start, strict=True):
        gap = row["score"] - before["score"]
        assert row["win"] == (1.0 if gap > 0 else 0.0 if gap < 0 else 0.5) and row["prompt"] == before["prompt"]
    assert {row["win"] for row in rows} >= {0.0, 1.0}


def test_noise_is_uniform_and_another_in_every_step_and_for_every_completion(run):
    it = run("algo=rloo", algo=asks(noise=True))
    noise = torch.cat([got.experience.rollout.noise.flatten() for got, _ in recorded_steps(it, 3)])
    assert len(set(noise.tolist())) == 48 and bool(((noise >= 0) & (noise < 1)).all()) and 0.3 < noise.mean() < 0.7
    pairs = run("algo=dpo", algo=asks(noise=True, pairs=1.0), preferences={"pairs": 12})
    of_pairs = torch.cat([got.experience.rollout.noise.flatten() for got, _ in recorded_steps(pairs, 3)])
    assert len(set(of_pairs.tolist())) == 48
