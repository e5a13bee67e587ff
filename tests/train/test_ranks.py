"""Two ranks take the steps of one process: here as threads, which is fast; `test_update.py` has real processes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from align_lab.base import registry
from align_lab.base.errors import DivergedError, RewardError
from align_lab.base.task import Example
from align_lab.base.types import LossOutput
from align_lab.base.world import World
from align_lab.rewards.scores import CheckedScores
from align_lab.train.evaluate import local_batches
from align_lab.train.scoring import LimitedScorer, score_metrics
from tests.train.ranks import ranks, together
from tests.train.small import CountWord
from tests.train.test_update import ALGOS, NOISE, built, weights

registry.scan()


@pytest.fixture(autouse=True)
def _small_buckets(monkeypatch):
    """Gradients are summed in many parts, some of them before the backward pass ends."""
    monkeypatch.setattr("align_lab.base.world.BUCKET", 300)


def of_rank(it, rank):
    """The same loop as one of several ranks."""
    it.world, it.evaluate = rank, dataclasses.replace(it.evaluate, world=rank)
    for source in (it.source, *(getattr(it.source, name, None) for name in ("rollouts", "source"))):
        if hasattr(source, "world"):
            source.world = rank
    return it


SOME = ["ppo_max", "dpo", "kto", "sail_pp", "remax", "dapo"]
COUNTS = {2: SOME, 3: SOME, 4: ALGOS}  # of four ranks, each has one of the four prompts of a step


@pytest.mark.nightly
@pytest.mark.parametrize(("count", "name"), [(count, name) for count, names in COUNTS.items() for name in names])
def test_ranks_take_the_steps_of_one_process(name, count):
    plan = {"minibatches": 2 if count == 2 else 1, "steps": 2}
    alone = built(name, **plan)
    alone.run()
    worlds = ranks(count)
    loops = [of_rank(built(name, micro_batch=4, **plan), world) for world in worlds]
    assert together([one.run for one in loops], worlds[0].meeting) == [None] * count
    for one in loops:
        torch.testing.assert_close(weights(one), weights(alone), rtol=0, atol=1e-9)
        for a, b in zip(alone.journal.rows, one.journal.rows, strict=True):
            assert a.keys() == b.keys()
            for key in a:
                if key not in NOISE and not key.startswith("time/"):
                    assert b[key] == pytest.approx(a[key], abs=1e-8), (name, key)


class OfOneRank:
    """A reward that fails in one rank alone."""

    def __init__(self, rank, inner):
        self.rank, self.inner = rank, inner

    def score(self, examples, completions):
        if self.rank.rank == 1:
            raise RewardError("the server is gone")
        return self.inner.score(examples, completions)


def test_where_the_reward_fails_in_one_rank_all_ranks_end_with_its_reason_and_none_waits():
    worlds = ranks(2)
    scorers = [LimitedScorer(scorer=OfOneRank(world, CountWord("o"))) for world in worlds]
    examples, texts = [Example.of_text("a")], ["good"]
    works = [lambda s=scorer, w=world: s(examples, texts, w) for scorer, world in zip(scorers, worlds, strict=True)]
    ended = together(works, worlds[0].meeting)
    assert [type(one) for one in ended] == [RewardError] * 2 and {str(one) for one in ended} == {"the server is gone"}


def test_where_the_loss_of_one_rank_is_not_finite_all_ranks_stop_before_a_weight_changes():
    worlds = ranks(2)
    loops = [of_rank(built("rloo"), world) for world in worlds]
    before = weights(loops[0]).clone()
    real_loss = type(loops[0].algo).loss

    class Broken(type(loops[0].algo)):
        def loss(self, now, x):
            out = real_loss(self, now, x)
            return LossOutput(loss=out.loss * float("nan"), metrics=out.metrics)

    loops[0].algo = Broken()
    ended = together([one.run for one in loops], worlds[0].meeting)
    assert [type(one) for one in ended] == [DivergedError] * 2
    assert all("loss is not finite" in str(one) for one in ended)
    assert all(torch.equal(weights(one), before) for one in loops)


@pytest.mark.parametrize("name", ["rloo", "sail_pp"])  # the second has passes for statistics before
def test_where_memory_runs_out_in_one_rank_all_ranks_start_again_with_half_of_the_micro_batch(name, capsys):
    alone = built(name, steps=2)
    alone.run()
    worlds, calls = ranks(2), []
    loops = [of_rank(built(name, steps=2), world) for world in worlds]
    logps = loops[1].learner.logps

    def limited(ids, *rest, **options):
        calls.append(len(ids))
        if torch.is_grad_enabled() and len(ids) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return logps(ids, *rest, **options)

    loops[1].learner.logps = limited
    assert together([one.run for one in loops], worlds[0].meeting) == [None] * 2
    for one in loops:
        assert one.plan.micro_batch == 4
        torch.testing.assert_close(weights(one), weights(alone), rtol=0, atol=1e-9)
    assert max(calls) > 4 and capsys.readouterr().err.count("micro-batches of 4 completions") == 2


@pytest.mark.parametrize(("count", "size", "most"), [(8, 3, 2), (8, 3, 128), (2, 3, 4), (7, 2, 1), (1, 4, 5)])
def test_ranks_share_the_prompts_of_an_evaluation_and_none_is_without_one(count, size, most):
    shares = [list(local_batches(count, World(rank=rank, size=size), most)) for rank in range(size)]
    assert len({len(one) for one in shares}) == 1  # as many forward passes in all of them
    assert {prompt for one in shares for batch in one for prompt in batch} == set(range(count))
    assert all(0 < len(batch) <= most for one in shares for batch in one)


def test_a_score_is_averaged_over_the_completions_of_all_ranks_and_failures_are_counted_in_all():
    worlds = ranks(2)
    parts = [{"words": [1.0, 3.0]}, {"words": [8.0, None], "letters": [5.0]}]
    given = [
        CheckedScores(values=[1.0, None], failures={1: "no"}, parts=parts[0]),
        CheckedScores(values=[None, None], failures={0: "no"}, parts=parts[1]),
    ]
    works = [lambda c=checked, w=world: score_metrics(c, w) for checked, world in zip(given, worlds, strict=True)]
    expected = {"reward/failed": 2.0, "reward/abstained": 1.0, "reward/words": 4.0, "reward/letters": 5.0}
    assert together(works, worlds[0].meeting) == [expected] * 2
