"""Intervals, p-values and words against values worked out elsewhere, and against each other."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
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

quick = settings(max_examples=60, deadline=None)
eighths = st.integers(-800, 800).map(lambda i: i / 8)  # sums of these are exact
seeds_of_one = st.lists(eighths, min_size=2, max_size=6)


def rng():
    return np.random.default_rng(0)


def test_the_t_interval_of_three_values_is_the_textbooks():
    """n = 3, mean 2, s = 1: half-width t(0.975, 2) / √3 = 4.302653 / 1.732051 = 2.484138."""
    result = t_interval([1.0, 2.0, 3.0])
    assert result.mean == 2.0
    assert result.high - result.mean == pytest.approx(2.484138, abs=1e-6)
    assert result.mean - result.low == pytest.approx(2.484138, abs=1e-6)


def test_one_value_has_a_mean_and_no_interval():
    result = t_interval([0.7])
    assert result.mean == 0.7 and math.isnan(result.low) and math.isnan(result.high)


def test_equal_variances_and_sizes_give_student_s_interval():
    """Two samples of 3 with s = 1: 4 degrees of freedom, t = 2.776445, half-width 2.776445 · √(2/3) = 2.266958."""
    result = welch_interval([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    assert result.mean == 2.0
    assert result.high - result.mean == pytest.approx(2.266958, abs=1e-5)


def test_the_paired_interval_is_that_of_the_differences():
    """Differences 1, 2, 3: as the textbook's interval above, however much the seeds differ."""
    result = paired_interval([11.0, 52.0, 93.0], [10.0, 50.0, 90.0])
    assert (result.mean, result.high) == pytest.approx((2.0, 2.0 + 2.484138), abs=1e-6)


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
    result = welch_interval(a, b, confidence=1 - p)
    assert min(abs(result.low), abs(result.high)) < 1e-6 * (result.high - result.low)


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
    for result in (
        iqm_interval([1.0], rng()),
        probability_of_improvement([1.0], [0.0, 1.0], rng()),
        two_level_interval([[0.0, 1.0]], rng()),
        two_level_interval([[0.0], [1.0]], rng()),
    ):
        assert math.isnan(result.low) and math.isnan(result.high) and not math.isnan(result.mean)


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
        result = two_level_interval(table, rng(), draws=4000)
        assert result.mean == 0.5
        assert (result.high - result.low) / 2 == pytest.approx(1.96 * 0.025, rel=0.06)


def test_paired_improvement_counts_seeds_with_the_exact_binomial_interval():
    from scipy.stats import binomtest

    a, b = [1.0, 2.0, 3.0, 0.0, 5.0], [0.0, 1.0, 2.0, 4.0, 4.0]
    result = paired_improvement(a, b)
    theirs = binomtest(4, 5).proportion_ci(0.95, method="exact")
    assert (result.mean, result.low, result.high) == pytest.approx((0.8, theirs.low, theirs.high))
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
