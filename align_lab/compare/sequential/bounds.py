"""The significance level of each look, calibrated by simulation for Welch's t at few seeds and for all pairs at once.

Tables of group-sequential bounds are for z statistics with known variances. With four seeds an arm they are wrong by
a factor, so the levels are simulated: equal normal arms, every look, every pair, the smallest p-value of a look. The
level of a look is the quantile that spends what the plan allows there, among the studies that have not ended before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from align_lab.base.contrast import Contrast
from align_lab.base.seed_plan import SeedPlan

TABLE = Path(__file__).with_name("bounds.json")
DRAWS, CHUNK = 200_000, 10_000
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
    return f"{looks}, {plan.confidence:g}, {arms} arms, {'control' if control else 'all pairs'}"


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
    """The levels from `draws` studies of equal normal arms, for these pairs, else every pair, or all with the first."""
    rng = np.random.default_rng(seed)
    pairs = pairs or [pair for pair in combinations(range(arms), 2) if not control or 0 in pair]
    parts = [
        smallest_p(rng.standard_normal((min(CHUNK, draws - start), arms, plan.most)), plan.looks, pairs)
        for start in range(0, draws, CHUNK)
    ]
    return spend(np.concatenate(parts, axis=1), [plan.spent(look) for look in range(len(plan.looks))])


def smallest_p(x: Floats, looks: Sequence[int], pairs: Sequence[tuple[int, int]]) -> Floats:
    """The smallest two-sided p-value of Welch's t over pairs, at each look: [draws, arms, seeds] -> [looks, draws]."""
    sums, squares = x.cumsum(-1), (x * x).cumsum(-1)
    result = np.empty((len(looks), len(x)))
    for number, n in enumerate(looks):
        mean = sums[..., n - 1] / n
        error = (squares[..., n - 1] / n - mean**2) / (n - 1)  # the squared standard error of each arm's mean
        result[number] = np.min([_welch_p(mean[:, (a, b)], error[:, (a, b)], n) for a, b in pairs], axis=0)
    return result


def _welch_p(mean: Floats, error: Floats, n: int) -> Floats:
    """[draws, 2] -> [draws]."""
    total = error.sum(-1)
    freedom = (n - 1) * total**2 / (error**2).sum(-1)
    return 2 * stdtr(freedom, -np.abs(mean[:, 0] - mean[:, 1]) / np.sqrt(total))


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
