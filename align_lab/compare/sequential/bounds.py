"""The significance level of each look, calibrated by simulation for t tests at few seeds and for all pairs at once.

Tables of group-sequential bounds are for z statistics with known variances. With four seeds an arm they are wrong by
a factor, so the levels are simulated: equal normal arms, every look, every pair, the smallest p-value of a look. The
level of a look is the quantile that spends what the plan allows there, among the studies that have not ended before.
Of several pairs, all levels are then lowered by one factor where one arm (the control where there is one) that varies a
fifth as much as the others, the pattern of which most comes, would raise the error by more than a tenth. One pair alone
is left as it is: there it makes 5.7 % of 5 %, and the lower levels would cost as many seeds as they are worth.
Where verdicts are paired by seed, the test is Student's of the differences, in which what a seed does to both arms
alike cancels, so that these arms need no blocks; else it is Welch's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from align_lab.base.contrast import Contrast
from align_lab.base.seed_plan import SeedPlan

TABLE = Path(__file__).with_name("bounds.json")
DRAWS, CHUNK = 200_000, 10_000
LARGEST = 2.0  # p-value that is worked out, in errors of the plan: t statistics of larger ones are known to be so
STEADY, RAISED = 0.2, 1.1  # one sd in those of other arms, and what it may make of an error of 1
Floats = NDArray[np.float64]
Pairs = Sequence[tuple[int, int]]  # of the arms' numbers


def levels(plan: SeedPlan, arms: int, *, control: bool, pairs: Pairs = ()) -> tuple[float, ...]:
    """Two-sided level of each look, for every pair of `arms` arms, every arm with a control, or these `pairs` alone.

    A pair is decided at a look where its p-value is at or below the level. From the table where it has the plan,
    otherwise simulated, which takes seconds.
    """
    known = None if pairs else _table().get(key(plan, arms, control=control))
    return known if known is not None else simulated(plan, arms, control=control, pairs=pairs)


def of_contrasts(plan: SeedPlan, contrasts: Sequence[Contrast]) -> tuple[float, ...]:
    """The levels for these pairs of names; the table has those that are all pairs of their arms, or all with one."""
    names = list(dict.fromkeys(name for pair in contrasts for name in pair))
    if 2 * len(contrasts) == len(names) * (len(names) - 1):
        return levels(plan, len(names), control=False)
    if set.intersection(*map(set, contrasts)):
        return levels(plan, len(names), control=True)
    pairs = [(names.index(a), names.index(b)) for a, b in contrasts]
    return levels(plan, len(names), control=False, pairs=pairs)


def key(plan: SeedPlan, arms: int, *, control: bool) -> str:
    """What the levels depend on."""
    looks = f"{plan.first}-{plan.step}-{plan.most}"
    paired = ", paired" if plan.paired else ""
    return f"{looks}, {plan.confidence:g}, {arms} arms, {'control' if control else 'all pairs'}{paired}"


@cache
def _table() -> dict[str, tuple[float, ...]]:
    return {name: tuple(row) for name, row in json.loads(TABLE.read_text(encoding="utf-8")).items()}


def simulated(
    plan: SeedPlan,
    arms: int,
    *,
    control: bool,
    pairs: Pairs = (),
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, ...]:
    """The levels from twice `draws` studies, for these pairs of arms, else every pair, or all with the first."""
    pairs = pairs or [pair for pair in combinations(range(arms), 2) if not control or 0 in pair]
    shared = np.bincount(np.array(pairs).ravel(), minlength=arms).argmax()  # the arm of most pairs
    spreads = np.where(np.arange(arms) == shared, STEADY, 1.0)
    spent = [plan.spent(look) for look in range(len(plan.looks))]
    levels = spend(_null(plan, pairs, np.ones(arms), draws, seed), spent)
    if len(pairs) == 1:
        return levels
    factor = _lowered(_null(plan, pairs, spreads, draws, seed), levels, RAISED * plan.error)
    return tuple(level * factor for level in levels)


def _lowered(p: Floats, levels: Sequence[float], error: float) -> float:
    """The factor, at most 1, by which levels let no more than this share of draws cross at any look: [looks, draws]."""
    known = np.array([(row / level) for row, level in zip(p, levels, strict=True) if level > 0])
    return min(1.0, float(np.quantile(known.min(axis=0), error))) if len(known) else 1.0


def _null(plan: SeedPlan, pairs: Pairs, spreads: Floats, draws: int, seed: int) -> Floats:
    """`smallest_p` of studies whose arms have equal means: [looks, draws]. spreads [arms]: of each arm."""
    rng, shape = np.random.default_rng(seed), (len(spreads), plan.most)
    parts = [
        smallest_p(
            rng.standard_normal((min(CHUNK, draws - start), *shape)) * spreads[:, None],
            plan.looks,
            pairs,
            paired=plan.paired,
            largest=LARGEST * plan.error,
        )
        for start in range(0, draws, CHUNK)
    ]
    return np.concatenate(parts, axis=1)


def smallest_p(x: Floats, looks: Sequence[int], pairs: Pairs, *, paired: bool = False, largest: float = 0.1) -> Floats:
    """The smallest two-sided p-value over pairs, at each look: [draws, arms, seeds] -> [looks, draws].

    One above `largest`, which no level comes near, stands as 1.
    """
    n, result = np.array(looks), np.ones((len(x), len(looks)))
    mean, error = _moments(x, n)
    for a, b in pairs:
        if paired:
            gap, total = _moments(x[:, a] - x[:, b], n)
            freedom = np.broadcast_to(n - 1.0, gap.shape)
        else:
            gap, total = mean[:, a] - mean[:, b], error[:, a] + error[:, b]
            freedom = (n - 1) * total**2 / (error[:, a] ** 2 + error[:, b] ** 2)
        t = np.abs(gap) / np.sqrt(total)
        near = t > stdtrit((n - 1.0) * (1 if paired else 2), 1 - min(1.0, largest) / 2)  # of the most freedom
        p = 2 * stdtr(freedom[near], -t[near])
        result[near] = np.minimum(result[near], np.where(p > largest, 1.0, p))
    return result.T


def _moments(x: Floats, n: NDArray[np.int_]) -> tuple[Floats, Floats]:
    """The mean of the first n values, and its squared standard error, for each n: [..., seeds] -> [..., looks]."""
    mean = x.cumsum(-1)[..., n - 1] / n
    return mean, ((x * x).cumsum(-1)[..., n - 1] / n - mean**2) / (n - 1)


def spend(p: Floats, spent: Sequence[float]) -> tuple[float, ...]:
    """The level of each look that ends a share `spent` of all draws by then: [looks, draws] -> [looks].

    A level of 0 decides nothing: no draw is left to spend there.
    """
    draws = p.shape[1]
    running, ended, result = np.ones(draws, dtype=bool), 0, []
    for values, share in zip(p, spent, strict=True):
        count = round(share * draws) - ended
        level = float(np.partition(values[running], count - 1)[count - 1]) if count > 0 else 0.0
        crossed = running & (values <= level) if count > 0 else np.zeros(draws, dtype=bool)
        running &= ~crossed
        ended += int(crossed.sum())
        result.append(level)
    return tuple(result)
