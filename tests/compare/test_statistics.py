"""Intervals, p-values and words against values worked out elsewhere, and against each other."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import nctdtr, stdtrit
from scipy.stats import trim_mean

from align_lab.compare.statistics import (
    Interval,
    iqm,
    iqm_interval,
    paired_improvement,
    paired_interval,
    paired_p,
    probability_of_improvement,
    t_interval,
    two_level_interval,
    welch_interval,
    welch_p,
)
from align_lab.compare.verdict import MOST, NO_DIFFERENCE, Comparison, headline, ranked, seeds_needed, verdicts

quick = settings(max_examples=60, deadline=None)
eighths = st.integers(-800, 800).map(lambda i: i / 8)  # sums of these are exact
seeds_of_one = st.lists(eighths, min_size=2, max_size=6)
three_arms = st.fixed_dictionaries(dict.fromkeys(("ppo", "rloo", "dpo"), seeds_of_one))


def rng():
    return np.random.default_rng(0)


def test_the_t_interval_of_three_values_is_the_textbooks():
    """n = 3, mean 2, s = 1: half-width t(0.975, 2) / √3 = 4.302653 / 1.732051 = 2.484138."""
    found = t_interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.high - found.mean == pytest.approx(2.484138, abs=1e-6)
    assert found.mean - found.low == pytest.approx(2.484138, abs=1e-6)


def test_one_value_has_a_mean_and_no_interval():
    found = t_interval([0.7])
    assert found.mean == 0.7 and math.isnan(found.low) and math.isnan(found.high)


def test_equal_variances_and_sizes_give_student_s_interval():
    """Two samples of 3 with s = 1: 4 degrees of freedom, t = 2.776445, half-width 2.776445 · √(2/3) = 2.266958."""
    found = welch_interval([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.high - found.mean == pytest.approx(2.266958, abs=1e-5)


def test_the_paired_interval_is_that_of_the_differences():
    """Differences 1, 2, 3: as the textbook's interval above, however much the seeds differ."""
    found = paired_interval([11.0, 52.0, 93.0], [10.0, 50.0, 90.0])
    assert (found.mean, found.high) == pytest.approx((2.0, 2.0 + 2.484138), abs=1e-6)


def test_p_values_are_those_of_the_closed_forms():
    """ν = 4, t² = 6: 1 - √(6/10) (1 + (4/10)/2) = 0.070484. ν = 2, t² = 12: 1 - √(12/14) = 0.074180."""
    assert welch_p([3.0, 4.0, 5.0], [1.0, 2.0, 3.0]) == pytest.approx(1 - math.sqrt(0.6) * 1.2, abs=1e-9)
    assert paired_p([11.0, 52.0, 93.0], [10.0, 50.0, 90.0]) == pytest.approx(1 - math.sqrt(12 / 14), abs=1e-9)


def test_p_values_of_arms_without_spread_or_with_one_seed():
    assert welch_p([1.0, 1.0], [1.0, 1.0]) == 1 and welch_p([1.0, 1.0], [2.0, 2.0]) == 0
    assert paired_p([1.0, 2.0], [1.0, 2.0]) == 1 and paired_p([2.0, 3.0], [1.0, 2.0]) == 0
    assert math.isnan(welch_p([1.0], [1.0, 2.0])) and math.isnan(paired_p([1.0], [2.0]))


@quick
@given(seeds_of_one, seeds_of_one)
def test_an_interval_ends_at_zero_at_the_confidence_of_its_p_value(a, b):
    p = welch_p(a, b)
    assume(1e-9 < p < 1)
    found = welch_interval(a, b, confidence=1 - p)
    assert min(abs(found.low), abs(found.high)) < 1e-6 * (found.high - found.low)


def test_pairs_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="same seeds in both arms: got 2 and 3"):
        paired_interval([1.0, 2.0], [1.0, 2.0, 3.0])


@quick
@given(st.lists(eighths, min_size=1, max_size=30), st.integers(-9, 9), st.randoms())
def test_the_iqm_is_scipys_trimmed_mean_and_moves_with_its_values(x, shift, random):
    assert iqm(x) == pytest.approx(trim_mean(x, 0.25), abs=1e-9)
    assert iqm([value + shift for value in x]) == pytest.approx(iqm(x) + shift, abs=1e-9)
    assert iqm(random.sample(x, len(x))) == iqm(x)


def test_the_iqm_by_hand():
    assert iqm([0, 1, 2, 100]) == 1.5  # the middle two of four
    assert iqm([5, 1, 30]) == 12.0  # nothing to trim: the mean
    assert iqm([[0, 100], [1, 2]]) == 1.5  # runs and tasks are pooled


def test_the_iqm_refuses_what_sorting_would_hide():
    with pytest.raises(ValueError, match="finite"):
        iqm([0.0, 1.0, 2.0, math.nan])
    with pytest.raises(ValueError, match="finite"):
        iqm([])


def test_tasks_are_resampled_apart_from_each_other():
    """Three equal runs of tasks that differ: resampling within a task changes nothing, across tasks it would."""
    assert iqm_interval([[0.0, 10.0], [0.0, 10.0], [0.0, 10.0]], rng()) == Interval(5.0, 5.0, 5.0)


def test_intervals_that_resample_need_two_of_what_they_resample():
    for found in (
        iqm_interval([1.0], rng()),
        probability_of_improvement([1.0], [0.0, 1.0], rng()),
        two_level_interval([[0.0, 1.0]], rng()),
        two_level_interval([[0.0], [1.0]], rng()),
    ):
        assert math.isnan(found.low) and math.isnan(found.high) and not math.isnan(found.mean)


def test_intervals_that_resample_are_those_of_their_generator():
    assert iqm_interval([1.0, 2.0, 4.0], rng()) == iqm_interval([1.0, 2.0, 4.0], rng())


def test_the_probability_of_improvement_by_hand():
    """1, 2, 4 win 0, 1, 3 of three pairs against 1, 3, 3, and the first draws one: 4.5 of 9."""
    assert probability_of_improvement([1, 2, 4], [1, 3, 3], rng()).mean == pytest.approx(4.5 / 9)
    assert probability_of_improvement([4, 5, 6], [1, 2, 3], rng()) == Interval(1.0, 1.0, 1.0)
    assert probability_of_improvement([1, 1], [1, 1], rng()) == Interval(0.5, 0.5, 0.5)


@quick
@given(seeds_of_one, seeds_of_one)
def test_improvement_one_way_is_what_is_left_the_other_way(a, b):
    there, back = probability_of_improvement(a, b, rng()).mean, probability_of_improvement(b, a, rng()).mean
    assert there + back == pytest.approx(1)
    assert probability_of_improvement([v**3 for v in a], [v**3 for v in b], rng()).mean == there  # ranks alone count


def test_two_levels_are_as_wide_as_the_factor_that_varies():
    """Only rows differ: the bootstrap of S seed means has variance s²(S-1)/S²; S = 400 of 0, 1: sd 0.5/20 = 0.025."""
    rows = np.repeat(np.arange(400)[:, None] % 2, 400, axis=1).astype(float)
    for table in (rows, rows.T):
        found = two_level_interval(table, rng(), draws=4000)
        assert found.mean == 0.5
        assert (found.high - found.low) / 2 == pytest.approx(1.96 * 0.025, rel=0.06)


def test_seeds_needed_are_the_power_tables():
    """Two-sided t test, α 0.05, power 0.8, n a group: Cohen 1988 and G*Power give 394, 64, 26, 17, 12."""
    effects = [0.2, 0.5, 0.8, 1.0, 1.2]
    found = [seeds_needed(math.sqrt(2), smallest=d, confidence=0.95, ratio=2) for d in effects]
    assert found == [394, 64, 26, 17, 12]


def test_seeds_are_counted_up_to_a_thousand_more():
    """With many degrees of freedom (1.96 + 0.8416) · spread = √n, so spread 11.2 takes 985 and 11.5 takes 1039."""
    options = {"smallest": 1.0, "confidence": 0.95, "ratio": 1e6}
    assert seeds_needed(11.2, **options) == 985
    assert seeds_needed(11.5, **options) is None and seeds_needed(11.5, start=40, **options) == 1039
    assert seeds_needed(11.5, start=39, **options) is None


@pytest.mark.parametrize("effect", [0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("confidence", [0.95, 0.995])
def test_seeds_needed_have_the_power_that_the_noncentral_t_promises(effect, confidence):
    n = seeds_needed(math.sqrt(2), smallest=effect, confidence=confidence, ratio=2)
    assert n is not None

    def power(n):
        return 1 - nctdtr(2 * n - 2, effect * math.sqrt(n / 2), stdtrit(2 * n - 2, (1 + confidence) / 2))

    assert power(n - 1) < 0.8 <= power(n)


def test_words_follow_the_corrected_interval():
    """Spread 0.1, gap 0.25: t = 3.06 (ν = 4, p = 0.038) decides one pair, not the same pair among three."""
    two = {"ppo": [0.25, 0.35, 0.45], "dpo": [0.0, 0.1, 0.2]}
    assert verdicts(two)[0].words == "ppo > dpo"
    assert verdicts(two)[0].p == pytest.approx(0.0377, abs=1e-3)
    three = verdicts(two | {"sft": [9.0, 9.1, 9.2]})
    assert [(c.a, c.b) for c in three] == [("sft", "ppo"), ("sft", "dpo"), ("ppo", "dpo")]
    assert [c.words for c in three[:2]] == ["sft > ppo", "sft > dpo"]
    assert three[2].words.startswith("not enough seeds: about ") and three[2].p == pytest.approx(3 * 0.0377, abs=2e-3)


def test_a_narrow_interval_around_zero_shows_no_difference():
    arms = {"ppo": [1.0, 1.01, 1.02], "rloo": [1.0, 1.01, 1.02]}
    assert [(c.words, c.needed) for c in verdicts(arms)] == [(NO_DIFFERENCE, None)]
    tenfold = {name: [10 * value for value in values] for name, values in arms.items()}
    assert (
        verdicts(tenfold)[0].words.startswith("not enough seeds") and verdicts(tenfold, smallest=1.0)[0].needed is None
    )


def test_the_number_of_seeds_to_add_is_the_power_tables():
    """sd 1 in both arms, 3 seeds, a gap of 1 to see: 17 a group (Cohen 1988), 14 more. A gap of 0.01 takes 157,000."""
    arms = {"ppo": [0.1, 1.1, 2.1], "dpo": [0.0, 1.0, 2.0]}
    (found,) = verdicts(arms, smallest=1.0)
    assert (found.words, found.needed) == ("not enough seeds: about 14 more would be needed to see 1", 14)
    (found,) = verdicts(arms, smallest=0.01)
    assert (
        found.words == "not enough seeds: more than 1000 more would be needed to see 0.01" and found.needed == MOST + 1
    )


def test_one_seed_is_not_enough():
    (found,) = verdicts({"ppo": [1.0], "dpo": [0.0, 0.1, 0.2]})
    assert found.words == "not enough seeds: one seed gives no interval, at least 2 more would be needed"
    assert found.needed == 2 and found.better is None and math.isnan(found.p)
    assert found.gap.mean == pytest.approx(0.9) and math.isnan(found.gap.low)
    assert headline([found], {"ppo": [1.0], "dpo": [0.0, 0.1, 0.2]}).startswith(
        "Not enough seeds to tell ppo from dpo: one"
    )


def test_arms_without_spread_differ_when_their_values_do():
    """0.1 has no exact binary form: the mean of ten is not the mean of three, which must not count as a gap."""
    assert verdicts({"ppo": [0.1] * 10, "dpo": [0.1] * 3})[0].words == NO_DIFFERENCE
    (found,) = verdicts({"ppo": [0.1] * 10, "dpo": [0.2] * 3})
    assert (found.words, found.p) == ("dpo > ppo", 0.0)
    assert verdicts({"ppo": [0.5] * 3, "dpo": [0.0, 0.1, 0.2]})[0].words == "ppo > dpo"  # one arm without


def test_pairs_are_made_by_seed_whatever_the_order():
    arms = {"ppo": [0.0, 10.0, 20.1], "dpo": [19.1, -1.0, 9.1]}
    seeds = {"ppo": [1, 2, 3], "dpo": [3, 1, 2]}
    (found,) = verdicts(arms, seeds=seeds, paired=True)
    assert found.words == "ppo > dpo"
    assert found.gap.mean == pytest.approx((1.0 + 0.9 + 1.0) / 3)
    assert verdicts(arms, seeds=seeds)[0].better is None  # without pairs the seeds hide it


def test_pairs_are_made_of_the_seeds_that_both_arms_have():
    arms = {"ppo": [1.0, 2.0, 3.1, 50.0], "dpo": [0.0, 1.0, 2.0]}
    (found,) = verdicts(arms, seeds={"ppo": [1, 2, 3, 4], "dpo": [1, 2, 3]}, paired=True)
    assert found.gap.mean == pytest.approx(3.1 / 3)
    (found,) = verdicts(arms, seeds={"ppo": [1, 2, 3, 4], "dpo": [1, 8, 9]}, paired=True)
    assert found.words.startswith("not enough seeds: one seed")


def test_the_words_name_the_better_arm_even_where_the_means_of_all_seeds_say_otherwise():
    arms = {"lucky": [0.0, 0.01, 0.02, 90.0], "steady": [1.0, 1.01, 1.03]}
    (found,) = verdicts(arms, seeds={"lucky": [1, 2, 3, 4], "steady": [1, 2, 3]}, paired=True)
    assert (found.a, found.better, found.worse, found.words) == ("lucky", "steady", "lucky", "steady > lucky")
    assert headline([found], arms) == "steady is better than lucky."


@pytest.mark.parametrize(
    ("arms", "options", "said"),
    [
        ({"ppo": [1.0, math.nan], "dpo": [1.0, 2.0]}, {}, "'ppo' has no finite value at \\[1\\]"),
        ({"ppo": [1.0, math.inf], "dpo": [1.0]}, {"seeds": {"ppo": [7, 9], "dpo": [7]}}, "no finite value at \\[9\\]"),
        ({"ppo": [], "dpo": [1.0]}, {}, "'ppo' has no values"),
        ({"ppo": [1.0], "dpo": [1.0]}, {"paired": True}, "needs seeds="),
        ({"ppo": [1.0], "dpo": [1.0]}, {"seeds": {"ppo": [1]}}, "'dpo' has 1 values and seeds \\[\\]"),
        ({"ppo": [1.0, 2.0]}, {"seeds": {"ppo": [1, 1]}}, "one seed a value, each once"),
        ({"ppo": [1.0], "dpo": [1.0]}, {"seeds": {"ppo": [1], "dpo": [2]}, "paired": True}, "share no seed"),
        ({"ppo": [1.0]}, {"confidence": 95}, "confidence < 1"),
        ({"ppo": [1.0]}, {"smallest": 0.0}, "smallest > 0"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(arms, options, said):
    with pytest.raises(ValueError, match=said):
        verdicts(arms, **options)


@quick
@given(three_arms, st.sampled_from([0.5, 10.0, 100.0]))
def test_the_p_value_and_the_interval_never_disagree(arms, smallest):
    for found in verdicts(arms, smallest=smallest):
        assert (found.p < 0.05) == (found.better is not None)
        assert (found.needed is None) == (not found.words.startswith("not enough seeds"))
        half = (found.gap.high - found.gap.low) / 2
        assert (found.words == NO_DIFFERENCE) == (found.better is None and half <= smallest)


@quick
@given(three_arms, st.integers(-50, 50), st.permutations(["ppo", "rloo", "dpo"]), st.randoms())
def test_the_order_of_arms_and_seeds_and_the_zero_of_the_scale_do_not_matter(arms, shift, order, random):
    plain = verdicts(arms)
    moved = {name: [value + shift for value in arms[name]] for name in order}
    assert ranked(moved) == ranked(arms)
    assert verdicts(moved) == plain and headline(verdicts(moved), moved) == headline(plain, arms)
    shuffled = {name: random.sample(values, len(values)) for name, values in arms.items()}
    for one, other in zip(verdicts(shuffled), plain, strict=True):
        assert (one.gap.low, one.gap.high, one.p) == pytest.approx((other.gap.low, other.gap.high, other.p), abs=1e-9)


def near(value, spread=0.01):
    return [value - spread, value, value + spread]


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ({"ppo": near(1)}, "One arm only: nothing to compare it with."),
        ({"ppo": near(1), "dpo": near(0)}, "ppo is better than dpo."),
        (
            {"ppo": near(1), "dpo": near(0), "sft": near(-1)},
            "ppo is better than every other arm (corrected for 3 comparisons).",
        ),
        (
            {"sft": near(0), "rloo": near(1.001), "ppo": near(1)},
            "rloo and ppo share the lead: no difference shown between them; both are better than sft "
            "(corrected for 3 comparisons).",
        ),
        (
            {"rloo": near(1), "ppo": near(1), "grpo": near(1)},
            "grpo, ppo and rloo share the lead: no difference shown between them (corrected for 3 comparisons).",
        ),
        (
            {"rloo": near(1, 0.3), "ppo": near(0.9, 0.3), "sft": near(-9)},
            "Not enough seeds to tell rloo from ppo: about 187 more would be needed to see 0.1; rloo is "
            "better than sft (corrected for 3 comparisons).",
        ),
        (
            {"rloo": near(1, 0.3), "ppo": [0.9], "sft": near(-9)},
            "Not enough seeds to tell rloo from ppo: one seed gives no interval, at least 2 more would be "
            "needed; rloo is better than sft (corrected for 3 comparisons).",
        ),
    ],
)
def test_the_headline_says_who_leads_and_no_more(arms, said):
    """187 more: (2.394 + 0.842)² · 2 · 0.3² / 0.1² = 188.5 seeds by the normal law at 1 - 0.05/3, 190 by t.

    3 are there.
    """
    assert headline(verdicts(arms), arms) == said


def test_a_headline_over_pairs_that_do_not_add_up_claims_only_what_is_shown():
    """a ~ b, a ~ c, but b > c: no shared lead."""
    tied = Interval(0.05, -0.01, 0.09)
    shown = [
        Comparison("a", "b", tied, 0.5, NO_DIFFERENCE, None),
        Comparison("a", "c", tied, 0.5, NO_DIFFERENCE, None),
        Comparison("b", "c", Interval(0.1, 0.05, 0.15), 0.01, "b > c", None),
    ]
    arms = {"a": [3.0], "b": [2.0], "c": [1.0]}
    said = "a leads, but no difference is shown between it and b and c (corrected for 3 comparisons)."
    assert headline(shown, arms) == said


def test_paired_improvement_counts_seeds_with_the_exact_binomial_interval():
    from scipy.stats import binomtest

    a, b = [1.0, 2.0, 3.0, 0.0, 5.0], [0.0, 1.0, 2.0, 4.0, 4.0]
    found = paired_improvement(a, b)
    theirs = binomtest(4, 5).proportion_ci(0.95, method="exact")
    assert (found.mean, found.low, found.high) == pytest.approx((0.8, theirs.low, theirs.high))
    sure = paired_improvement([1.0] * 5, [0.0] * 5)
    assert (sure.mean, sure.high) == (1.0, 1.0) and sure.low == pytest.approx(0.025 ** (1 / 5))
    assert paired_improvement([1.0, 1.0], [1.0, 1.0]).mean == 0.5


def test_paired_improvement_covers_what_it_promises():
    rng = np.random.default_rng(0)
    for chance in (0.5, 0.8):
        hits = 0
        for _ in range(4000):
            won = (rng.random(5) < chance).astype(float)
            interval = paired_improvement(won, np.full(5, 0.5))
            hits += interval.low <= chance <= interval.high
        assert hits / 4000 >= 0.95
