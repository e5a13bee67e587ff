"""What a step logs, against counts and sums of its completions one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from align_lab.base.task import Failure, Score
from align_lab.train import skipped
from align_lab.train.evaluation_metrics import distinct, repetition, standard_error, summary
from align_lab.train.experience_metrics import experience_metrics
from align_lab.train.scoring import LimitedScorer, Meter
from tests.train.small import CountWord, algorithm, loop


@pytest.mark.parametrize("name", ["rloo", "dpo", "iterative_dpo", "sail_pp"])
def test_the_seconds_of_a_step_are_those_of_sampling_scoring_and_the_update(name):
    it = loop(algorithm(name), steps=2)
    it.run()
    for row in it.journal.rows[1:]:
        parts = [row.get(f"time/{part}", 0.0) for part in ("rollout", "score", "update")]
        assert sum(parts) == pytest.approx(row["time/step"]) and min(parts) >= 0
        assert row["time/samples_per_second"] * row["time/step"] == pytest.approx(8 if name == "sail_pp" else 16)
    assert (it.journal.rows[1].get("time/rollout", 0.0) > 0) == (name != "dpo")  # pairs are not sampled
    assert it.journal.rows[-1]["time/elapsed"] == pytest.approx(sum(row["time/step"] for row in it.journal.rows[1:]))


def test_lengths_entropy_kl_and_scores_are_means_over_completions():
    it = loop(algorithm("rloo"), dtype=torch.float64, lr=0.03)
    it.advance()
    collected = it.source.collect(1, groups=4)
    x = collected.experience.rollout
    advantage, _ = it.algo.advantages(x, ())
    row = experience_metrics(collected, advantage)
    lengths, surprises, kls, ended = [], [], [], 0
    for p in range(4):
        for g in range(4):
            counted = [t for t in range(x.mask.shape[-1]) if x.mask[p, g, t]]
            lengths.append(len(counted))
            surprises.append(-sum(float(x.logp_old[p, g, t]) for t in counted))
            kls.append(sum(float(x.logp_old[p, g, t]) - float(x.logp_ref[p, g, t]) for t in counted))
            ended += int(collected.experience.ids[p, g, -x.mask.shape[-1] :][counted[-1]]) == 0
    assert min(lengths) < max(lengths) and abs(sum(kls)) > 1e-3
    assert (row["completions/min_length"], row["completions/max_length"]) == (min(lengths), max(lengths))
    assert row["completions/mean_length"] == pytest.approx(sum(lengths) / 16)
    assert row["objective/entropy"] == pytest.approx(sum(surprises) / 16)
    assert row["objective/kl"] == pytest.approx(sum(kls) / 16)
    assert row["objective/scores"] == pytest.approx(sum(x.score.flatten().tolist()) / 16)
    assert row["val/num_eos_tokens"] == ended


class InParts(CountWord):
    """One part is the number of characters; the scorer keeps all of them, and fails where it is odd."""

    def __init__(self):
        super().__init__("o")
        self.characters = []

    def score(self, examples, completions):
        self.characters.append([float(len(text)) for text in completions])
        totals = [Failure("odd") if len(text) % 2 else 1.0 for text in completions]
        return Score(total=totals, parts={"characters": self.characters[-1]})


@pytest.mark.parametrize("name", ["rloo", "remax"])
def test_parts_of_the_score_are_means_over_sampled_completions_and_failures_are_counted_over_all(name):
    it, reward = loop(algorithm(name)), InParts()
    it.source = replace(it.source, reward=LimitedScorer(scorer=reward, max_failed=1.0))
    collected = it.source.collect(0, groups=4)
    assert len(reward.characters) == (2 if name == "remax" else 1)  # the most likely completions by themselves
    assert collected.metrics["reward/characters"] == pytest.approx(
        sum(reward.characters[0]) / len(reward.characters[0])
    )
    failed = sum(count % 2 == 1 for characters in reward.characters for count in characters)
    assert collected.metrics["reward/failed"] == failed > 0 == collected.metrics["reward/abstained"]
    assert "rollout/groups_kept" not in collected.metrics  # nothing is refused


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"reward/failed": 2.0, "reward/abstained": 3.0}, "5 of its 16 completions have no score"),
        ({"reward/abstained": 3.0}, "3 of its 16 completions have no score"),
        ({"reward/failed": 2.0}, "2 of its 16 completions have no score"),
        ({}, "no group of its 16 completions has scores that differ"),
    ],
)
def test_the_reason_of_a_step_without_an_update_counts_failures_and_abstentions(metrics, said):
    collected = loop(algorithm("rloo")).source.collect(0, groups=4)
    assert skipped.reason(replace(collected, metrics=metrics)).startswith(said)


def test_what_scoring_costs_adds_up_from_nothing():
    meter = Meter()
    for sums in ({"reward.dollars": 2.0}, {"reward.dollars": 0.5, "judge.dollars": 1.0}):
        meter.add(sums)
    assert meter.totals == {"reward.dollars": 2.5, "judge.dollars": 1.0}


def row(index, *, entropy, length, text="a b c a", score=1.0):
    usual = {"kl": 0.0, "ended": True, "win": 0.5}
    return {"index": index, "score": score, "entropy_sum": entropy, "length": length, "completion": text, **usual}


def test_entropy_is_a_token_of_all_completions_together():
    rows = [row(0, entropy=6.0, length=2), row(1, entropy=2.0, length=6)]
    assert summary(rows, judges=(), decides="score")["eval/entropy"] == 1.0  # 8 nats in 8 tokens
    certain = [row(0, entropy=0.0, length=2)]
    assert summary(certain, judges=(), decides="score")["eval/entropy"] == 0.0


def test_the_diversity_of_texts_counted_by_hand():
    assert distinct(["a b a b", "b a"], n=2) == 2 / 4  # (a b) (b a) (a b), (b a)
    assert distinct(["a b c", "d"], n=2) == 1.0 and distinct(["a", ""], n=2) == 0.0
    assert repetition(["a b a", "c"]) == 1 / 4
    assert repetition(["a b c d a"]) == 1 / 5 and repetition(["a b c d e a"]) == 0.0  # only four words back
    assert repetition(["", " "]) == 0.0
    assert standard_error(torch.tensor([1.0])) is None  # of one value nothing is known
    assert standard_error(torch.tensor([0.0, 2.0], dtype=torch.float64)) == pytest.approx(1.0)  # sqrt(2 / 2)
