"""Many sequential studies at once, written apart from production: arrays over studies in place of a loop over looks."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from align_lab.base.seed_plan import SeedPlan


def pairs_of(arms):
    """Numbers of two arms, each pair once."""
    return list(combinations(range(arms), 2))


def gaps(x, n, pairs, *, paired):
    """Mean gap of each pair over the first n seeds, the sd of one seed's gap and its freedom, [studies, pairs] each."""
    first, second = (x[:, [pair[side] for pair in pairs], :n] for side in (0, 1))
    if paired:
        differences = first - second
        return differences.mean(-1), differences.std(-1, ddof=1), n - 1
    va, vb = first.var(-1, ddof=1), second.var(-1, ddof=1)
    return first.mean(-1) - second.mean(-1), np.sqrt(va + vb), (va + vb) ** 2 * (n - 1) / (va**2 + vb**2)


def differs(gap, sd, freedom, n, level):
    """Does the interval at this level exclude 0? The quantile is worked out where it may matter: it is above that of
    the most freedom that there can be."""
    t, quantile = np.abs(gap) * np.sqrt(n) / sd, 1 - level / 2
    near = t > stdtrit(2 * (n - 1), quantile) if level > 0 else np.zeros(t.shape, bool)
    near[near] = t[near] > stdtrit(np.broadcast_to(freedom, t.shape)[near], quantile)
    return near


def lies_within(gap, sd, freedom, n, level, smallest):
    """Is the whole interval inside ± smallest?"""
    room = smallest - np.abs(gap)
    near = room > stdtrit(2 * (n - 1), 1 - level / 2) * sd / np.sqrt(n) if level > 0 else np.zeros(gap.shape, bool)
    exact = stdtrit(np.broadcast_to(freedom, gap.shape)[near], 1 - level / 2) * sd[near] / np.sqrt(n)
    near[near] = room[near] >= exact
    return near


def first_difference(x, plan, levels):
    """x [studies, arms, seeds] -> the look at which some pair is first called different, -1 for never.

    Beaten arms go on here, so that it is an upper bound of what production calls different.
    """
    found, pairs = np.full(len(x), -1), pairs_of(x.shape[1])
    for look, (n, level) in reversed(list(enumerate(zip(plan.looks, levels, strict=True)))):
        gap, sd, freedom = gaps(x, n, pairs, paired=plan.paired)
        found[differs(gap, sd, freedom, n, level).any(1)] = look
    return found


def study(x, plan: SeedPlan, levels):
    """x [studies, arms, seeds] -> seeds of each arm at the end, and each pair's sign where it was called different.

    Every pair of arms; beaten arms get no further seeds, and pairs that were given up are looked at again.
    """
    pairs = pairs_of(x.shape[1])
    seeds, sign = np.zeros(x.shape[:2], int), np.zeros((len(x), len(pairs)), int)
    going, given_up = np.ones(sign.shape, bool), np.zeros(sign.shape, bool)
    of_arm = np.array([[arm in pair for arm in range(x.shape[1])] for pair in pairs])
    for n, level in zip(plan.looks, levels, strict=True):
        active = going @ of_arm
        seeds[active] = n
        looked = going | (given_up & np.stack([active[:, a] & active[:, b] for a, b in pairs], 1))
        gap, sd, freedom = gaps(x, n, pairs, paired=plan.paired)
        better = looked & differs(gap, sd, freedom, n, level)
        equal = looked & lies_within(gap, sd, freedom, n, level, plan.smallest)
        sign[better] = np.sign(gap[better])
        hopeless = power(gap, sd, n, plan, levels[-1]) < plan.hopeless
        given_up = (given_up & ~looked) | (looked & ~better & ~equal & hopeless)
        beaten = (better & (gap < 0)) @ of_arm_side(pairs, 0, x) | (better & (gap > 0)) @ of_arm_side(pairs, 1, x)
        going = looked & ~better & ~equal & ~hopeless & ~(beaten @ of_arm.T)
    return seeds, sign


def of_arm_side(pairs, side, x):
    """[pairs, arms]: is this the first, or the second, arm of the pair?"""
    return np.array([[pair[side] == arm for arm in range(x.shape[1])] for pair in pairs])


def one_pair(x, plan: SeedPlan, levels):
    """x [studies, 2, seeds] -> seeds an arm at the end, and whether the arms were called different."""
    seeds, sign = study(x, plan, levels)
    return seeds[:, 0], sign[:, 0] != 0


def power(gap, sd, n, plan, level):
    """Conditional power at the last look, for the larger of the smallest gap and the present one."""
    left, limit = plan.most - n, -ndtri(level / 2) * sd * np.sqrt(plan.most)
    if not left:
        return np.zeros_like(gap)
    drift = np.maximum(plan.smallest, np.abs(gap))
    sums = [n * gap + left * one for one in (drift, -drift)]
    return np.max([ndtr((y - limit) / sd / left**0.5) + ndtr((-y - limit) / sd / left**0.5) for y in sums], axis=0)
