"""Where arms end between KL and score: means of the last evaluations, names moved apart only where they would meet."""

from __future__ import annotations

import pytest

from align_lab.compare.report import reached


def document(*runs):
    """Rows of runs: (arm, seed, [(KL, score), ...])."""
    rows = [
        {"arm": arm, "seed": seed, "step": step, "kl": kl, "score": None, "decides": score}
        for arm, seed, path in runs
        for step, (kl, score) in enumerate(path)
    ]
    return {"frontier": rows}


def test_an_arm_is_at_the_mean_of_the_last_evaluations_of_its_runs():
    runs = [("a", 0, [(0, 0), (1, 5), (2, 4)]), ("a", 1, [(0, 0), (4, 8)]), ("b", 0, [(0, 0), (10, 1)])]
    a, b = reached.ends(document(*runs), "decides", height=300)
    assert (a["arm"], a["x"], a["mean"], a["dy"]) == ("a", 3.0, 6.0, 0.0)  # (2 + 4) / 2 and (4 + 8) / 2
    assert (b["x"], b["mean"], b["dy"]) == (10, 1, 0.0)


def test_names_that_would_meet_are_moved_apart_and_others_stay():
    near = [("a", 0, [(0, 0), (10, 5)]), ("b", 0, [(0, 0), (9, 5)]), ("c", 0, [(0, 0), (2, 5)])]
    moved = {end["arm"]: end["dy"] for end in reached.ends(document(*near), "decides", height=300)}
    assert abs(moved["a"] - moved["b"]) == 14 and moved["c"] == 0  # pixels of a line


@pytest.mark.parametrize("rows", [[], [("a", 0, [(None, 1.0)])], [(f"arm {i}", 0, [(1, i)]) for i in range(17)]])
def test_without_evaluations_or_with_too_many_arms_there_are_no_names(rows):
    assert reached.ends(document(*rows), "decides", height=300) == []
    assert reached.named([], {}, "decides", {}) == []
