"""Many sequential studies at once, written apart from production: arrays over studies in place of a loop over looks."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from align_lab.base.seed_plan import SeedPlan


def moments(x, n):
    """Mean and variance over the first n seeds."""
    return x[..., :n].mean(-1), x[..., :n].var(-1, ddof=1)


def first_difference(x, plan, levels):
    """x [studies, arms, seeds] -> the look at which some pair is first called different, -1 for never.

    Beaten arms go on here, so that it is an upper bound of what production calls different.
    """
    found = np.full(len(x), -1)
    for look, (n, level) in reversed(list(enumerate(zip(plan.looks, levels, strict=True)))):
        mean, var = moments(x, n)
        for a, b in combinations(range(x.shape[1]), 2):
            found[_half(var[:, a], var[:, b], n, level) < np.abs(mean[:, a] - mean[:, b])] = look
    return found


def one_pair(x, plan: SeedPlan, levels):
    """x [studies, 2, seeds] -> seeds an arm at the end, and whether the arms were called different."""
    seeds, better = np.full(len(x), plan.most), np.zeros(len(x), bool)
    running = np.ones(len(x), bool)
    for n, level in zip(plan.looks, levels, strict=True):
        mean, var = moments(x, n)
        gap, half = mean[:, 0] - mean[:, 1], _half(var[:, 0], var[:, 1], n, level)
        different, equal = np.abs(gap) > half, np.abs(gap) + half <= plan.smallest
        given_up = power(gap, np.sqrt(var.sum(1)), n, plan, levels[-1]) < plan.hopeless
        ends = running & (different | equal | given_up)
        seeds[ends] = n
        better |= ends & different
        running &= ~ends
    return seeds, better


def power(gap, s, n, plan, level):
    """Conditional power at the last look, from the sum of the seeds so far and those to come."""
    left, limit = plan.most - n, -ndtri(level / 2) * s * np.sqrt(plan.most)
    if not left:
        return np.zeros_like(gap)
    sums = [n * gap + left * one for one in (plan.smallest, -plan.smallest)]
    return np.max([ndtr((y - limit) / s / left**0.5) + ndtr((-y - limit) / s / left**0.5) for y in sums], axis=0)


def _half(va, vb, n, level):
    """Half of Welch's interval."""
    freedom = (va + vb) ** 2 * (n - 1) / (va**2 + vb**2)
    return stdtrit(freedom, 1 - level / 2) * np.sqrt((va + vb) / n)
