"""Interpolation, bands and frontiers against hand-made paths, and against numpy's own interpolation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align_lab.compare import curves
from align_lab.compare.curves import at, bands, common_grid, stacked, t_bands
from align_lab.compare.evaluations import Table
from align_lab.compare.evaluations import columns as columns_of
from align_lab.compare.runs import Run
from align_lab.compare.statistics import t_interval

NAN = float("nan")
GOLD = "eval/gold_score"
COLUMNS = columns_of((GOLD, "eval/gold_score_se"))


def run(name="r", seed=0, **columns):
    """`columns` by name, with _ for /."""
    values = np.full((len(next(iter(columns.values()))), len(COLUMNS.names)), NAN)
    for key, column in columns.items():
        values[:, COLUMNS.places[key.replace("_", "/", 1) if key != "step" else key]] = column
    rows, fields = Table(COLUMNS, values), {"evaluation.metric": GOLD}
    return Run(name=name, algo="rloo", seed=seed, fields=fields, hashes={}, labels={}, spent={}, rows=rows)


def one(x, y, grid):
    return at(np.array([x], float), np.array([y], float)[:, :, None], np.array(grid, float))[0, :, 0].tolist()


def test_between_evaluations_lies_a_line_and_outside_nothing():
    points = one([0, 10, 20], [0, 1, 5], [-1, 0, 5, 10, 15, 20, 21])
    assert points == pytest.approx([NAN, 0, 0.5, 1, 3, 5, NAN], nan_ok=True)


def test_an_axis_that_turns_back_is_crossed_for_the_first_time():
    """The KL goes 0, 4, 2, 6: 3 is first reached on the way to 4, and 5 on the way from 2 to 6."""
    assert one([0, 4, 2, 6], [0, 8, 100, 104], [3, 4, 5, 6]) == [6, 8, 103, 104]


def test_runs_are_interpolated_each_on_its_own_places():
    x = np.array([[0, 2, 4], [0, 3, NAN]])
    y = np.stack([x * 10, x + 1], axis=2)
    points = at(x, y, np.array([3.0, 3.5]))
    assert points[:, :, 0] == pytest.approx(np.array([[30, 35], [30, NAN]]), nan_ok=True)
    assert points[:, :, 1] == pytest.approx(np.array([[4, 4.5], [4, NAN]]), nan_ok=True)


def test_a_value_that_is_no_number_makes_a_gap_and_nothing_else():
    points = one([0, 1, 2, 3], [0, NAN, 2, 3], [0, 0.5, 1.5, 2, 2.5, 3])
    assert points == pytest.approx([0, NAN, NAN, 2, 2.5, 3], nan_ok=True)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 8), st.integers(0, 1000))
def test_on_axes_that_only_grow_it_is_numpy_s_interpolation(n, seed):
    rng = np.random.default_rng(seed)
    x, y = np.cumsum(rng.random((3, n)), axis=1), rng.normal(size=(3, n))
    grid = np.append(rng.uniform(x.min(), x.max(), 5), x[0])
    points = at(x, y[:, :, None], grid)[:, :, 0]
    for i in range(3):
        expected = np.interp(grid, x[i], y[i], left=NAN, right=NAN)
        assert points[i] == pytest.approx(expected, nan_ok=True)


def test_a_band_is_the_t_interval_of_the_seeds_that_are_there():
    values = np.array([[1.0, 5.0, NAN], [2.0, NAN, NAN], [4.0, 7.0, NAN], [4.5, NAN, 3.0]])
    n, mean, half = t_bands(values)
    assert n.tolist() == [4, 2, 1]
    for i in range(2):
        expected = t_interval([value for value in values[:, i] if value == value])
        assert (mean[i], mean[i] + half[i]) == pytest.approx((expected.mean, expected.high))
    assert mean[2] == 3.0 and np.isnan(half[2])


def test_the_grid_is_where_the_runs_were_judged_while_these_places_are_few():
    assert common_grid([np.array([[0, 8, NAN]]), np.array([[0, 4]])]).tolist() == [0, 4, 8]
    fine = common_grid([np.arange(100.0)[None]])
    assert len(fine) == curves.GRID and (fine[0], fine[-1]) == (0, 99)
    assert np.diff(fine) == pytest.approx(99 / (curves.GRID - 1))


def test_bands_of_arms_share_their_grid_and_end_with_their_runs():
    a = [run(seed=i, step=[0, 1], episode=[0, 8], eval_gold_score=[0, 1 + i]) for i in range(2)]
    b = [run(step=[0, 1], episode=[0, 4], eval_gold_score=[0, 3])]
    points = [band for band in bands({"a": stacked(a), "b": stacked(b)}, GOLD) if band["axis"] == "episode"]
    assert [(band["arm"], band["x"], band["mean"], band["n"]) for band in points] == [
        ("a", 0, 0, 2),
        ("a", 4, 0.75, 2),
        ("a", 8, 1.5, 2),
        ("b", 0, 0, 1),
        ("b", 4, 3, 1),
    ]
    assert {band["metric"] for band in points} == {"eval/gold_score"}  # nothing else was recorded
    end = t_interval([1.0, 2.0])
    assert (points[2]["low"], points[2]["high"]) == pytest.approx((end.low, end.high))
    assert points[3]["low"] is None and points[3]["high"] is None


def test_means_and_bands_end_where_the_first_run_ends():
    """One of three runs ends at KL 2: beyond it a mean would jump to that of the other two, and then of one."""
    ends = (2.0, 4.0, 6.0)
    runs = [
        run(str(i), i, step=[0, 1], eval_kl=[0.0, end], eval_gold_score=[0.0, 1.0 + i]) for i, end in enumerate(ends)
    ]
    points = [band for band in bands({"a": stacked(runs)}, GOLD) if (band["axis"], band["metric"]) == ("kl", GOLD)]
    assert [band["x"] for band in points] == [0.0, 2.0] and {band["n"] for band in points} == {3}
    gap = [run("r", 0, step=[0, 1, 2], episode=[0, 1, 2], eval_gold_score=[0.0, NAN, 1.0])]
    whole = [run("s", 1, step=[0, 1, 2], episode=[0, 1, 2], eval_gold_score=[0.0, 2.0, 3.0])]
    within = [band for band in bands({"a": stacked([*gap, *whole])}, GOLD) if band["axis"] == "episode"]
    assert [(band["x"], band["n"]) for band in within if band["metric"] == GOLD] == [(0.0, 2), (1.0, 1), (2.0, 2)]


def test_an_axis_that_nobody_records_has_no_bands():
    points = bands({"a": stacked([run(step=[0, 1], episode=[0, 4], eval_gold_score=[0, 3])])}, GOLD)
    assert {band["axis"] for band in points} == {"episode"}


def test_curves_hold_every_evaluation_and_the_frontier_every_kl():
    runs = {
        "a": [run("r", 7, step=[0, 20], episode=[0, 8], eval_gold_score=[0, 1], eval_score=[NAN, 2], eval_kl=[0, 3])]
    }
    gold = [point for point in curves.curves(runs, GOLD) if point["metric"] == "eval/gold_score"]
    assert gold[1] == {
        "metric": "eval/gold_score",
        "arm": "a",
        "seed": 7,
        "run": "r",
        "step": 20,
        "episode": 8,
        "tokens": None,
        "labels": None,
        "seconds": None,
        "flops": None,
        "kl": 3.0,
        "value": 1.0,
    }
    assert [p["value"] for p in curves.curves(runs, GOLD) if p["metric"] == "eval/score"] == [2.0]  # nan is no point
    assert curves.frontier(runs, GOLD) == [
        {"arm": "a", "seed": 7, "step": 0, "kl": 0.0, "score": None, "decides": 0.0},
        {"arm": "a", "seed": 7, "step": 20, "kl": 3.0, "score": 2.0, "decides": 1.0},
    ]


def test_many_curves_are_cut_to_the_first_seeds_of_each_arm(monkeypatch):
    monkeypatch.setattr(
        curves, "POINTS", 2 * 2 * 2 * len(curves.drawn(GOLD))
    )  # two arms, two evaluations: two runs an arm
    runs = [run(str(i), i, step=[0, 1], eval_gold_score=[0, 1]) for i in range(5)]
    assert {arm: len(few) for arm, few in curves.few({"a": runs, "b": runs[:1]}, GOLD).items()} == {"a": 2, "b": 1}


def test_a_metric_that_is_optimized_and_decides_is_drawn_once():
    assert curves.drawn("eval/score")[:2] == ["eval/score", "eval/kl"]
    assert len(set(curves.drawn("eval/accuracy"))) == len(curves.drawn("eval/accuracy")) == 6
