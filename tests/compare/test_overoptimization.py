"""Gold falls while the proxy rises: the run that collapsed in the first study, and runs that did not."""

from dataclasses import replace

import numpy as np
import pytest

from align_lab.compare.curves import stacked
from align_lab.compare.evaluations import Table
from align_lab.compare.overoptimization import Scores, health, overoptimization
from tests.compare.folders import LABELS
from tests.compare.test_curves import COLUMNS, GOLD, run

NAN = float("nan")
SCORES = Scores(GOLD, LABELS)
STEPS = [0, 20, 40, 60]


def judged(gold, proxy, kl, se=0.05):
    r = run("r", 3, step=STEPS, eval_gold_score=gold, eval_score=proxy, eval_kl=kl, eval_gold_score_se=[se] * 4)
    (result,) = overoptimization("a", [r], stacked([r]), SCORES)
    return result


def test_a_peak_that_the_proxy_rises_beyond_is_marked_with_the_checkpoint_to_keep():
    """runs/collapse of the first study."""
    result = judged([0.03, 0.364, -1.152, -3.27], [0.19, 2.12, 2.55, 2.73], [0.0, 69.3, 84.4, 107.9])
    assert (result["arm"], result["seed"], result["run"]) == ("a", 3, "r")
    assert result["marked"] and result["score_rose"] and result["keep"] == result["peak_step"] == 20
    assert (result["peak_distance"], result["last_distance"]) == pytest.approx((8.325, 10.387), abs=1e-3)
    assert result["words"] == (
        "over-optimized: gold fell from 0.36 to −3.27 after step 20 while the proxy score rose: keep step 20, "
        "of which no "
        "checkpoint is left"
    )


@pytest.mark.parametrize(
    ("gold", "proxy", "kl", "marked", "keep"),
    [
        ([0.0, 0.2, 0.5, 0.8], [0, 1, 2, 3], [0, 1, 2, 3], False, None),  # still rising
        ([0.0, 0.2, 0.80, 0.70], [0, 1, 2, 3], [0, 1, 2, 3], False, None),  # 0.1 < 2 · √2 · 0.05 = 0.141: noise
        ([0.0, 0.2, 0.80, 0.65], [0, 1, 2, 3], [0, 1, 2, 3], True, 40),  # 0.15 > 0.141
        ([0.0, 0.8, 0.5, 0.2], [0, 3, 2, 1], [0, 1, 2, 3], False, 20),  # both fall: unstable
        ([0.0, 0.8, 0.5, 0.2], [0, 1, 2, 3], [0, 3, 2, 1], False, 20),  # nearer to the start than at its peak
        ([0.5, 0.2, 0.1, 0.0], [0, 1, 2, 3], [-1e-8, 1, 2, 3], True, 0),  # worse from the first step on
        ([0.0, NAN, 0.8, 0.2], [0, 1, 2, 3], [0, 1, 2, 3], True, 40),
        ([0.0, 0.8, NAN, 0.2], [0, 1, 2, NAN], [0, 1, 2, 3], False, 20),
    ],
)
def test_only_a_fall_beyond_noise_counts(gold, proxy, kl, marked, keep):
    result = judged(gold, proxy, kl)
    assert (result["marked"], result["keep"]) == (marked, keep)
    assert bool(result["words"]) == (keep is not None)
    assert ("keep the start policy" in result["words"]) == (keep == 0)


def test_whether_the_checkpoint_to_keep_is_still_there_is_said(tmp_path):
    (tmp_path / "checkpoints" / "step-000020").mkdir(parents=True)
    r = run("r", step=STEPS, eval_gold_score=[0, 1, 0, 0], eval_score=[0, 1, 2, 3], eval_kl=[0, 1, 2, 3])
    (gone,) = overoptimization("a", [r], stacked([r]), SCORES)
    (there,) = overoptimization("a", [replace(r, place=str(tmp_path))], stacked([r]), SCORES)
    assert (gone["checkpoint"], there["checkpoint"]) == (False, True)
    assert gone["words"].endswith("keep step 20, of which no checkpoint is left")
    assert there["words"].endswith("keep step 20")


def test_without_a_standard_error_every_fall_counts():
    assert judged([0.0, 0.2, 0.8, 0.79], [0, 1, 2, 3], [0, 1, 2, 3], se=NAN)["marked"]


def described(**changes):
    """An arm of one run, whose metrics go from the first to the second value."""
    rows = np.full((1, 2, len(COLUMNS.names)), NAN)
    usual = {"gold_score": (0, 1), "score": (0, 1), "length": (20, 20), "entropy": (3, 3), "distinct_2": (0.6, 0.6)}
    for name, values in (usual | changes).items():
        rows[0, :, COLUMNS.places[f"eval/{name}"]] = values
    return health("a", Table(COLUMNS, rows), SCORES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"length": (20, 24)}, ""),
        ({"length": (20, 28)}, "length grew by 40 % with the score: look for a length hack"),
        ({"length": (20, 28), "score": (1, 0)}, "length grew by 40 %"),
        ({"length": (20, 10)}, "length fell by 50 %"),
        ({"entropy": (3, 1.5)}, "entropy fell by 50 %: the policy became narrow"),
        ({"distinct_2": (0.6, 0.15)}, "distinct word pairs fell by 75 %: completions became alike"),
        ({"distinct_2": (0.6, 0.0)}, "no completion has more than one word at the end"),
        (
            {"entropy": (3, 0.3), "gold_score": (0, -1)},
            "entropy fell by 90 %: the policy became narrow; gold is below the start",
        ),
        ({"length": (0, 5), "entropy": (NAN, NAN)}, ""),
    ],
)
def test_the_text_is_looked_at_beside_the_score(changes, words):
    assert described(**changes)["words"] == words


def test_lengths_are_means_over_runs():
    two = np.concatenate([np.full((1, 2, len(COLUMNS.names)), value) for value in (1.0, 3.0)])
    result = health("a", Table(COLUMNS, two), SCORES)
    assert (result["length_start"], result["length"], result["entropy"], result["distinct_2"]) == (2.0, 2.0, 2.0, 2.0)


def test_where_the_optimized_score_decides_there_is_nothing_to_hold_it_against():
    r = run("r", step=STEPS, eval_score=[0, 3, 2, 1], eval_kl=[0, 1, 2, 3])
    assert overoptimization("a", [r], stacked([r]), Scores("eval/score", {})) == []


def test_words_are_those_that_the_runs_bring():
    labels = {GOLD: {**LABELS[GOLD], "label": "accuracy"}, "eval/score": {**LABELS["eval/score"], "label": "reward"}}
    r = run("r", step=STEPS, eval_gold_score=[0, 1, 0, 0], eval_score=[0, 1, 2, 3], eval_kl=[0, 1, 2, 3])
    (line,) = overoptimization("a", [r], stacked([r]), Scores(GOLD, labels))
    assert line["words"].startswith(
        "over-optimized: accuracy fell from 1.00 to 0.00 after step 20 while the reward rose"
    )
