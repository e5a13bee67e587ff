"""The sentence of a comparison: what is shown first, with its size and unit, then what is not; nothing else."""

from __future__ import annotations

from itertools import combinations

import pytest

from align_lab.compare.asked import Asked
from align_lab.compare.gaps import Measure, enough, places
from align_lab.compare.headline import headline, headline_against, headline_of_contrasts
from align_lab.compare.statistics import Interval
from align_lab.compare.verdict import EQUAL, NO_DIFFERENCE, NOT_ENOUGH, Comparison, verdicts

SD = Measure(label="gold score", unit="sd of human reviews", smallest=0.1)


def near(value, spread=0.01):
    return [value - spread, value, value + spread]


def pair(a, b, mean, half, words="", needed=None):
    """A comparison as `verdicts` makes it, with an interval that was chosen."""
    interval = Interval(mean, mean - half, mean + half)
    usual = f"{a} > {b}" if mean > half else f"{NOT_ENOUGH}about 9 more an arm would be needed to see 0.1"
    return Comparison(a, b, interval, 0.5, words or usual, None if mean > half else needed or 9)


def every(names, shown, half=0.5):
    """All pairs of these arms, of which only some are decided."""
    return [
        pair(a, b, *(shown.get((a, b)) or (0.1 + 0.001 * place, half)))
        for place, (a, b) in enumerate(combinations(names, 2))
    ]


def means(names):
    return {name: [float(-place)] for place, name in enumerate(names)}


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ({"ppo": near(1)}, "One arm only: nothing to compare it with."),
        # 2.776 · 0.01 · √(2/3) = 0.0227
        ({"ppo": near(1), "dpo": near(0)}, "ppo is better than dpo by 1.000 [0.977, 1.023]."),
        (  # t₄(1 - 0.05/6) = 3.961 makes 0.0323
            {"ppo": near(1), "dpo": near(0), "sft": near(-1)},
            "ppo is better than every other arm, by 1.000 [0.968, 1.032] over dpo; dpo is better than sft by 1.000 "
            "[0.968, 1.032] (corrected for 3 comparisons).",
        ),
        (
            {"sft": near(0), "rloo": near(1.001), "ppo": near(1)},
            "rloo and ppo share the lead: equal to within ±0.1; both are better than sft (corrected for 3 "
            "comparisons).",
        ),
        (
            {"rloo": near(1), "ppo": near(1), "grpo": near(1)},
            "grpo, ppo and rloo share the lead: equal to within ±0.1 (corrected for 3 comparisons).",
        ),
        (
            {"rloo": near(1), "ppo": near(1)},
            "ppo and rloo are equal to within ±0.1 (gap 0.000 [−0.023, 0.023]).",
        ),
        (  # t₂(1 - 0.05/6) = 7.649, of √(0.0901/3) = 0.173: ±1.33; t₄ of 0.245: ±0.97
            {"rloo": near(1, 0.3), "ppo": near(0.9, 0.3), "sft": near(-9)},
            "rloo is better than sft by 10.0 [8.7, 11.3]; ppo is better than sft by 9.9 [8.6, 11.2]; not enough seeds "
            "to distinguish rloo from ppo: the gap is 0.1 [−0.9, 1.1] (corrected for 3 comparisons).",
        ),
        (
            {"rloo": near(1, 0.3), "ppo": [0.9], "sft": near(-9)},
            "rloo is better than sft by 10.0 [8.7, 11.3]; not enough seeds to distinguish it from ppo: the gap is 0.1 "
            "(one seed gives no interval) (corrected for 3 comparisons).",
        ),
        ({"ppo": [1.0], "dpo": [0.2]},
            "Not enough seeds to distinguish ppo from dpo: the gap is 0.800 (one seed gives no interval)."),
    ],
)  # fmt: skip
def test_it_says_who_leads_by_how_much_and_no_more(arms, said):
    assert headline(verdicts(arms, smallest=0.1), arms) == said


def test_without_a_gap_that_matters_nothing_is_equal_and_the_size_of_what_is_open_is_said():
    arms = {"ppo": near(1), "rloo": near(1)}
    assert headline(verdicts(arms), arms) == (
        "No difference is shown between ppo and rloo: the gap is 0.000 [−0.023, 0.023]."
    )
    more = {**arms, "dpo": near(1)}
    assert headline(verdicts(more), more) == (
        "No difference is shown between dpo and any other arm (gaps of up to 0.032 are not ruled out) (corrected for "
        "3 comparisons)."
    )


def test_pairs_that_are_shown_come_before_a_leader_who_is_not_told_from_any():
    """Twelve arms of three seeds: three pairs of 66 are decided, and none of them is the leader's."""
    names = ["dr_grpo", "grpo", "rloo", "raft", "remax", *(f"arm_{i}" for i in range(7))]
    shown = {("grpo", "raft"): (0.57, 0.5), ("rloo", "raft"): (0.46, 0.4), ("grpo", "remax"): (0.62, 0.55)}
    assert headline(every(names, shown), means(names), measure=SD) == (
        "grpo is better than raft and remax, by 0.57 sd of human reviews [0.07, 1.07] over raft; rloo is better than "
        "raft by 0.46 [0.06, 0.86]; which arm is best is inconclusive: not enough seeds to distinguish dr_grpo from "
        "any other arm, of which grpo is the nearest: the gap is 0.10 [−0.40, 0.60] (corrected for 66 comparisons)."
    )


def test_arms_that_beat_the_same_ones_are_said_together_and_many_are_counted():
    names = ["a", "b", "c", "d", "e"]
    shown = dict.fromkeys([("b", "d"), ("c", "d"), ("b", "e"), ("c", "e")], (1.0, 0.5))
    said = headline(every(names, shown), means(names))
    assert said.startswith("b and c are better than d and e, the smallest gap 1.00 [0.50, 1.50]; which arm is best")
    everything = dict.fromkeys(combinations(names, 2), (1.0, 0.5)) | {("a", "b"): (0.2, 0.5)}
    assert headline(every(names, everything), means(names)) == (
        "a is better than c, d and e, by 1.00 [0.50, 1.50] over c; 6 more pairs are decided; not enough seeds to "
        "distinguish a from b: the gap is 0.20 [−0.30, 0.70] (corrected for 10 comparisons)."
    )
    six = [*names, "f"]
    rest = dict.fromkeys(combinations(six, 2), (1.0, 0.5)) | {("a", "b"): (0.2, 0.5)}
    assert headline(every(six, rest), means(six)).startswith("a is better than every other arm but b, by 1.00")


def test_a_shown_gap_within_what_matters_is_called_smaller():
    """0.089 [0.041, 0.137] of which 0.5 matters: shown, and less than that."""
    half = Measure(unit="sd of human reviews", smallest=0.5)
    two = [pair("dr_grpo", "grpo", 0.089, 0.048)]
    assert headline(two, means(["dr_grpo", "grpo"]), measure=half) == (
        "dr_grpo is better than grpo by 0.089 sd of human reviews [0.041, 0.137], less than the 0.5 that matters."
    )
    names = ["a", "b", "c"]
    three = every(names, {("a", "b"): (0.2, 0.1), ("a", "c"): (0.9, 0.1), ("b", "c"): (0.7, 0.1)})
    assert headline(three, means(names), measure=half) == (
        "a is better than every other arm, by 0.20 sd of human reviews [0.10, 0.30] over b (b by less than the 0.5 "
        "that matters); b is better than c by 0.70 [0.60, 0.80] (corrected for 3 comparisons)."
    )
    assert "that matters" not in headline(two, means(["dr_grpo", "grpo"]), measure=SD)


@pytest.mark.parametrize(
    ("unit", "amount"),
    [
        ("sd of human reviews", "by 0.50 sd of human reviews [0.10, 0.90]."),
        ("-1 to 1", "by 0.50 in accuracy [0.10, 0.90]."),  # what values there are: no gap is so many of it
        ("share of completions", "by 0.50 in accuracy [0.10, 0.90]."),
        ("", "by 0.50 in accuracy [0.10, 0.90]."),
    ],
)
def test_a_gap_has_its_unit_where_it_can_have_one(unit, amount):
    said = headline([pair("a", "b", 0.5, 0.4)], means(["a", "b"]), measure=Measure(label="accuracy", unit=unit))
    assert said == f"a is better than b {amount}"


def test_pairs_that_do_not_add_up_claim_only_what_is_shown():
    """a ~ b, a ~ c, but b > c: no shared lead."""
    tied = Interval(0.05, -0.01, 0.09)
    shown = [
        Comparison("a", "b", tied, 0.5, NO_DIFFERENCE, None),
        Comparison("a", "c", tied, 0.5, NO_DIFFERENCE, None),
        Comparison("b", "c", Interval(0.1, 0.05, 0.15), 0.01, "b > c", None),
    ]
    assert headline(shown, means(["a", "b", "c"])) == (
        "b is better than c by 0.100 [0.050, 0.150]; which arm is best is inconclusive: no difference is shown between "
        "a and any other arm (gaps of up to 0.09 are not ruled out) (corrected for 3 comparisons)."
    )


def test_an_arm_may_be_equal_to_some_and_not_be_told_from_others():
    names = ["a", "b", "c", "d"]
    same = [pair("a", other, 0.01, 0.05, f"{EQUAL}0.1") for other in "bc"]
    rows = [*same, pair("a", "d", 0.1, 0.2), *(pair(x, y, 0.1, 0.2) for x, y in ("bc", "bd", "cd"))]
    assert headline(rows, means(names), measure=SD) == (
        "a is equal to within ±0.1 sd of human reviews to b and c; not enough seeds to distinguish a from d: the gap "
        "is 0.10 [−0.10, 0.30] (corrected for 6 comparisons)."
    )


def test_contrasts_are_answered_decided_ones_first():
    asked = Asked(contrasts=(("a", "b"), ("d", "c"), ("a", "x")), smallest=0.1)
    rows = [pair("a", "b", 0.1, 0.3), pair("c", "d", 0.5, 0.3)]
    assert headline_of_contrasts(asked, rows, 3, measure=SD) == (
        "c is better than d by 0.50 sd of human reviews [0.20, 0.80]; not enough seeds to distinguish a from b: the "
        "gap is 0.10 [−0.20, 0.40]; a and x: not yet run (corrected for 3 comparisons)."
    )


def test_against_a_control_few_arms_have_their_gaps_and_many_their_names():
    few = [pair("full", "a", 0.5, 0.3), pair("b", "full", 0.4, 0.3)]
    assert headline_against("full", few, measure=SD) == (
        "Better than full: b (by 0.40 sd of human reviews [0.10, 0.70]); worse: a (by 0.50 [0.20, 0.80]) (corrected "
        "for 2 comparisons)."
    )
    many = [pair("full", name, 0.5, 0.3) for name in "abcd"]
    assert headline_against("full", many) == "Worse than full: a, b, c and d (corrected for 4 comparisons)."


def test_numbers_have_the_digits_that_their_intervals_support():
    """Two of the usual half-width, one of the narrowest, three of values without any."""
    assert [places([0.178]), places([0.0321]), places([2.4]), places([31.0]), places([310.0])] == [2, 3, 1, 0, 0]
    assert places([0.5, 0.5, 0.004]) == 3
    assert [places([], [0.897]), places([None], [23.4]), places([], [412.0]), places([])] == [3, 1, 0, 2]
    assert enough(1, 0.001, 1.08) == 3 and enough(1, -0.2, 0.3) == 1 and enough(2, -0.4, -0.003) == 3
