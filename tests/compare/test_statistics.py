"""Intervals against values worked out elsewhere, and against their own promise by simulation."""

import math

import numpy as np
import pytest

from align_lab.compare.statistics import t_interval, welch_interval


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


@pytest.mark.parametrize("n", [3, 5])
def test_the_intervals_cover_what_they_promise(n):
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=n), rng.normal(scale=2.0, size=n)) for _ in range(4000)]
    alone = np.mean([(i := t_interval(x)).low <= 0 <= i.high for x, _ in draws])
    gap = np.mean([(i := welch_interval(x, y)).low <= 0 <= i.high for x, y in draws])
    assert 0.94 <= alone <= 0.96
    assert 0.93 <= gap <= 0.98
