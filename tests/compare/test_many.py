"""The closed forms for many seeds against scipy, and against the bootstrap that they stand for."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from scipy.stats.mstats import trimmed_mean_ci

from align_lab.compare import many, statistics

LAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed": lambda rng, n: np.exp(rng.normal(size=n)),
    "ties": lambda rng, n: rng.integers(0, 5, size=n).astype(float),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [50, 101])
def test_the_iqm_s_interval_is_scipy_s_of_a_trimmed_mean(law, n):
    x = LAWS[law](np.random.default_rng(n), n)
    interval = many.iqm_interval(x.tolist())
    assert (interval.low, interval.high) == pytest.approx(tuple(trimmed_mean_ci(x, limits=(0.25, 0.25), alpha=0.05)))
    assert interval.mean == statistics.iqm(x)


@pytest.mark.parametrize("law", LAWS)
def test_the_probability_of_improvement_is_mann_whitney_s(law):
    rng = np.random.default_rng(0)
    a, b = LAWS[law](rng, 60), LAWS[law](rng, 80)
    assert many.probability_of_improvement(a, b).mean == pytest.approx(mannwhitneyu(a, b).statistic / (60 * 80))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_they_are_what_the_bootstrap_would_say(law, shift):
    rng = np.random.default_rng(1)
    a, b = LAWS[law](rng, 200) + shift, LAWS[law](rng, 200)
    pairs = [
        (many.iqm_interval(a.tolist()), statistics.iqm_interval(a, rng, draws=4000)),
        (many.probability_of_improvement(a, b), statistics.probability_of_improvement(a, b, rng, draws=4000)),
    ]
    for interval, expected in pairs:
        assert interval.mean == pytest.approx(expected.mean)
        width = expected.high - expected.low
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.12 * width)


def test_arms_that_do_not_overlap_stay_within_bounds():
    interval = many.probability_of_improvement([2.0, 3.0], [0.0, 1.0])
    assert (interval.low, interval.mean, interval.high) == (1.0, 1.0, 1.0)
    nearly = many.probability_of_improvement([*range(10, 60), 0.5], [*range(50)])
    assert 0 <= nearly.low < nearly.mean < nearly.high <= 1
