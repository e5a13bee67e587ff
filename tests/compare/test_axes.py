"""Rankings of arms at equal cost (tokens, device-seconds, KL), checked by hand on straight learning curves."""

import numpy as np
import pytest

from align_lab.compare import axes
from align_lab.compare.evaluations import Table, columns
from align_lab.compare.statistics import t_interval

NAN = float("nan")
COLUMNS = columns(("eval/gold_score",))
COLUMN = COLUMNS.places


def compared(arms):
    seeds = {arm: range(len(values)) for arm, values in arms.items()}
    return axes.compared({arm: Table(COLUMNS, values) for arm, values in arms.items()}, "eval/gold_score", seeds)


def line(seconds, gold, *, episodes=100.0, kl=1.0):
    """A run from 0 to its last evaluation on every axis; gold rises in a straight line from 0."""
    rows = np.zeros((2, len(COLUMNS.names)))
    for name, value in {"episode": episodes, "time/elapsed": seconds, "eval/gold_score": gold, "eval/kl": kl}.items():
        rows[1, COLUMN[name]] = value
    rows[1, [COLUMN["step"], COLUMN["budget/tokens"], COLUMN["budget/labels"], COLUMN["budget/flops"]]] = 1.0
    return rows


SLOW = np.stack([line(100, gold) for gold in (1.0, 1.1, 1.2)])  # better at equal episodes
FAST = np.stack([line(10, gold) for gold in (0.7, 0.8, 0.9)])  # ten times as quick


def by_axis(arms):
    return {result["axis"]: result for result in compared(arms)}


def test_arms_are_compared_at_the_largest_cost_that_every_run_has_reached():
    result = by_axis({"slow": SLOW, "fast": FAST})
    assert (result["episode"]["at"], result["seconds"]["at"]) == (100, 10)
    slow, fast = result["seconds"]["ranking"][::-1]
    assert (fast["arm"], slow["arm"]) == ("fast", "slow")
    assert (fast["mean"], slow["mean"]) == pytest.approx((0.8, 0.11))  # a tenth of 1.1 after a tenth of its time
    expected = t_interval([0.1, 0.11, 0.12])
    assert (slow["low"], slow["high"], slow["n"]) == pytest.approx((expected.low, expected.high, 3))


def test_a_ranking_flip_is_named_and_said_to_be_shown_or_not():
    result = by_axis({"slow": SLOW, "fast": FAST})
    assert result["seconds"]["flips"] == [{"ahead": "fast", "behind": "slow", "shown": True}]
    assert result["seconds"]["words"] == (
        "At 10 device-seconds of training fast leads, not slow as at equal episodes; 1 pair changes places, "
        "1 by more than the seeds vary: fast is now ahead of slow."
    )
    assert result["tokens"]["flips"] == result["episode"]["flips"] == []
    noisy = np.stack([line(10, gold) for gold in (-0.5, 0.2, 1.0)])
    (flip,) = by_axis({"slow": SLOW, "noisy": noisy})["seconds"]["flips"]
    assert flip == {"ahead": "noisy", "behind": "slow", "shown": False}


def test_pairs_of_the_data_are_compared_with_scored_completions_at_equal_labels():
    """A judged pair costs two completions and one label."""
    pairs, sampled = np.stack([line(10, 1.0)] * 2), np.stack([line(10, 1.2)] * 2)
    pairs[:, 1, COLUMN["budget/labels"]], sampled[:, 1, COLUMN["budget/labels"]] = 50.0, 100.0
    labels = by_axis({"pairs": pairs, "sampled": sampled})["labels"]
    assert labels["at"] == 50 and labels["unit"] == "labels charged"
    assert {row["arm"]: row["mean"] for row in labels["ranking"]} == {"pairs": 1.0, "sampled": 0.6}
    assert [(flip["ahead"], flip["behind"]) for flip in labels["flips"]] == [("pairs", "sampled")]


def test_the_shortest_run_sets_the_point_of_comparison():
    long = np.stack([line(100, 1.0, kl=8.0), line(100, 1.0, kl=2.0)])
    result = by_axis({"long": long, "short": np.stack([line(100, 0.5, kl=4.0)])})
    assert result["kl"]["at"] == 2.0
    assert {row["arm"]: row["mean"] for row in result["kl"]["ranking"]} == {"long": (0.25 + 1.0) / 2, "short": 0.25}
    assert [row["low"] for row in result["kl"]["ranking"] if row["arm"] == "short"] == [None]


@pytest.mark.parametrize("seconds", [NAN, 0.0])
def test_an_axis_that_a_run_did_not_record_or_move_along_is_not_compared(seconds):
    still = FAST.copy()
    still[0, :, COLUMN["time/elapsed"]] = seconds
    result = by_axis({"slow": SLOW, "fast": still})
    assert result["seconds"]["at"] is None and result["seconds"]["ranking"] == [] and result["seconds"]["flips"] == []
    assert result["seconds"]["words"].startswith("Not compared")
    assert result["episode"]["at"] == 100


def test_a_gap_in_the_curve_leaves_that_run_out():
    broken = np.stack([np.insert(line(10, gold), 1, line(5, 0.1)[1], axis=0) for gold in (0.7, 0.9)])
    broken[0, 1, COLUMN["eval/gold_score"]] = NAN
    short = np.stack([line(8, 1.0)])
    result = by_axis({"broken": broken, "short": short})["seconds"]
    assert {row["arm"]: row["n"] for row in result["ranking"]} == {"broken": 1, "short": 1}


def test_one_arm_has_nothing_to_be_compared_with():
    assert compared({"slow": SLOW}) == []
