"""Win rates by hand, and their intervals against the interval for one pair."""

import numpy as np
import pytest

from align_lab.compare.answers import Answers
from align_lab.compare.statistics import two_level_interval
from align_lab.compare.wins import wins


def answer(score):
    return {"completion": "", "decides": score, "score": None, "ended": None}


def kept(**arms):
    """arm -> seed -> gold score of each prompt."""
    return {
        arm: {
            seed: Answers.of({(i, f"p{i}"): answer(value) for i, value in enumerate(scores) if value is not None})
            for seed, scores in seeds.items()
        }
        for arm, seeds in arms.items()
    }


def rate(table, a, b):
    return table["matrix"][table["arms"].index(a)][table["arms"].index(b)]


def test_a_win_is_a_higher_gold_score_on_the_same_prompt_and_a_tie_a_half():
    """Seed 1: win, tie, loss, win; seed 2: four losses."""
    table = wins(kept(a={1: [1, 2, 3, 4], 2: [0, 0, 0, 0]}, b={1: [0, 2, 5, 0], 2: [1, 1, 1, 1]}), 0)
    assert table["prompts"] == 4
    assert rate(table, "a", "b")["rate"] == pytest.approx(2.5 / 8)
    assert rate(table, "b", "a")["rate"] == pytest.approx(5.5 / 8)
    assert rate(table, "a", "a") is None


def test_the_matrix_mirrors_itself():
    rng = np.random.default_rng(0)
    table = wins(kept(**{arm: {s: rng.normal(size=30).tolist() for s in range(4)} for arm in "abc"}), 0)
    for a in "abc":
        for b in set("abc") - {a}:
            one, other = rate(table, a, b), rate(table, b, a)
            assert one["rate"] == pytest.approx(1 - other["rate"])
            assert (one["low"], one["high"]) == pytest.approx((1 - other["high"], 1 - other["low"]))
            assert one["low"] < one["rate"] < one["high"]


def test_its_intervals_are_those_of_the_two_level_bootstrap():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.3, 1, size=(5, 100)) + rng.normal(0, 0.5, size=(5, 1)), rng.normal(size=(5, 100))
    table = rate(wins(kept(a=dict(enumerate(a.tolist())), b=dict(enumerate(b.tolist()))), 0), "a", "b")
    expected = two_level_interval(a > b, np.random.default_rng(2), draws=20_000)
    assert table["rate"] == pytest.approx(expected.mean)
    assert (table["low"], table["high"]) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_seeds_are_paired_by_their_number_and_where_none_is_shared_by_their_order():
    shared = wins(kept(a={1: [5, 5], 2: [0, 0]}, b={2: [1, 1], 3: [9, 9]}), 0)
    assert rate(shared, "a", "b")["rate"] == 0.0  # seed 2 against seed 2
    apart = wins(kept(a={1: [5, 5], 2: [0, 0], 3: [0, 0]}, b={8: [1, 1], 9: [-1, -1]}), 0)
    assert rate(apart, "a", "b")["rate"] == 1.0  # 1 against 8, 2 against 9


def test_one_seed_or_one_prompt_has_no_interval():
    assert rate(wins(kept(a={1: [1, 2]}, b={1: [0, 3]}), 0), "a", "b") == {"rate": 0.5, "low": None, "high": None}
    assert rate(wins(kept(a={1: [1], 2: [1]}, b={1: [0], 2: [0]}), 0), "a", "b") == {
        "rate": 1.0,
        "low": None,
        "high": None,
    }


def test_only_prompts_that_all_have_answered_count():
    table = wins(kept(a={1: [1, 1, None]}, b={1: [0, 2, 0]}, c={1: [None, 0, 0]}), 0)
    assert table["prompts"] == 1 and rate(table, "a", "b")["rate"] == 0.0
    nothing = wins(kept(a={1: [1, None]}, b={1: [None, 1]}), 0)
    assert nothing == {"arms": [], "matrix": [], "prompts": 0, "seeds": 0}


def test_an_arm_that_kept_no_completions_leaves_its_row_empty():
    table = wins(kept(a={1: [1, 1]}, b={}, c={1: [0, 0]}), 0)
    assert table["arms"] == ["a", "b", "c"] and table["prompts"] == 2
    assert rate(table, "a", "b") is None and rate(table, "a", "c")["rate"] == 1.0


def test_what_is_drawn_follows_the_seed_and_does_not_depend_on_other_arms():
    rng = np.random.default_rng(3)
    arms = {arm: {s: rng.normal(size=20).tolist() for s in range(3)} for arm in "abc"}
    whole, again, other = wins(kept(**arms), 0), wins(kept(**arms), 0), wins(kept(**arms), 1)
    assert whole == again != other
    del arms["c"]
    assert rate(wins(kept(**arms), 0), "a", "b") == rate(whole, "a", "b")
