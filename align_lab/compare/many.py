"""Intervals of arms with many seeds, in closed form: the bootstrap would say the same, and take a thousand times as
long.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

from align_lab.compare.statistics import Interval, iqm

MANY = 50  # seeds of an arm from which these stand for the bootstrap


def iqm_interval(values: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """IQM ± t₍ₕ₋₁₎ s_w / ((1 - 2γ) √n), γ = ¼, h = n - 2⌊n/4⌋ values kept, s_w the standard deviation of the winsorised
    values.

    Source: Tukey and McLaughlin 1963, Sankhyā A 25: the t interval of a trimmed mean.
    """
    x = np.sort(np.asarray(values, dtype=float))
    cut = len(x) // 4
    kept = len(x) - 2 * cut
    winsorised = np.clip(x, x[cut], x[-cut - 1])
    error = 2 * winsorised.std(ddof=1) / np.sqrt(len(x))
    half, mean = float(stdtrit(kept - 1, (1 + confidence) / 2) * error), iqm(x)
    return Interval(mean, mean - half, mean + half)


def probability_of_improvement(a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """P(A > B) + ½ P(A = B) ± z √(s²(V) / n + s²(W) / m), cut at 0 and 1.

    Vᵢ = share of b below aᵢ, Wⱼ = share of a above bⱼ, ties a half each. Source: DeLong, DeLong and Clarke-Pearson
    1988, Biometrics 44: the variance of a Mann-Whitney statistic from its placements.
    """
    x, y = np.sort(np.asarray(a, dtype=float)), np.sort(np.asarray(b, dtype=float))
    v = (np.searchsorted(y, x, "left") + np.searchsorted(y, x, "right")) / (2 * len(y))
    w = 1 - (np.searchsorted(x, y, "left") + np.searchsorted(x, y, "right")) / (2 * len(x))
    half = ndtri((1 + confidence) / 2) * np.sqrt(v.var(ddof=1) / len(x) + w.var(ddof=1) / len(y))
    mean = float(v.mean())
    return Interval(mean, max(0.0, float(mean - half)), min(1.0, float(mean + half)))
