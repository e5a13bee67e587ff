"""Means and intervals over seeds. Pure numpy and scipy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided interval; without an interval (nan) where there are too few values."""

    mean: float
    low: float
    high: float


def t_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean: x̄ ± t₍ₙ₋₁₎ s/√n. One value has no interval."""
    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        return Interval(float(x.mean()), float("nan"), float("nan"))
    half = stdtrit(len(x) - 1, (1 + confidence) / 2) * x.std(ddof=1) / np.sqrt(len(x))
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half))


def welch_interval(a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Interval of mean(a) - mean(b) with unequal variances (Welch 1947); none where an arm has one value."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    gap = float(x.mean() - y.mean())
    if min(len(x), len(y)) < 2:
        return Interval(gap, float("nan"), float("nan"))
    vx, vy = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    if vx + vy == 0:
        return Interval(gap, gap, gap)
    freedom = (vx + vy) ** 2 / (vx**2 / (len(x) - 1) + vy**2 / (len(y) - 1))
    half = float(stdtrit(freedom, (1 + confidence) / 2) * np.sqrt(vx + vy))
    return Interval(gap, gap - half, gap + half)
