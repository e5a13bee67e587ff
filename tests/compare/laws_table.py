"""Prints the measured tables of docs/seeds.md. python -m tests.compare.laws_table

How often equal arms are called different, five of one law and two of different ones; how many seeds two arms take, and
how many three and five, beside the fixed number with the same power.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np

from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.sequential import bounds
from tests.compare.sequential_twin import differs, first_difference, gaps, one_pair, pairs_of, study
from tests.compare.test_coverage import bimodal, collapsing, lognormal, normal

STUDIES = 10_000
PLANS = (SeedPlan(first=4, most=24, smallest=1.0), SeedPlan(smallest=1.0))  # smallest: in sds of one seed
LATER = tuple(SeedPlan(first=first, most=24, smallest=1.0) for first in (4, 6, 12))
GAPS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
MEANS = ((1, 0, 0), (1, 0, 0, 0, 0), (0.5, 0, 0, 0, 0))  # of arms, the best first
LARGEST = 48  # seeds of a fixed number
Law = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def unequal(rng, shape):
    """Normal, with standard deviations from 1 to 10."""
    return normal(rng, shape) * np.geomspace(1, 10, shape[1])[:, None]


def beside(law: Law, sd: float) -> Law:
    """The first arm of this law, the others normal with this standard deviation; all means are 0."""

    def drawn(rng, shape):
        x = normal(rng, shape) * sd
        x[:, 0] = law(rng, (shape[0], shape[2]))
        return x

    return drawn


LAWS = {
    "normal": normal,
    "normal, standard deviations from 1 to 10": unequal,
    "lognormal": lognormal,
    "one run of five collapses": collapsing,
    "a run works or fails, half and half": bimodal,
}
TWO = {
    "normal, normal": normal,
    "normal, normal with a third of the spread": beside(normal, 1 / 3),
    "normal, normal with a fifth of the spread": beside(normal, 1 / 5),
    "lognormal, normal with a twentieth of the spread": beside(lognormal, 0.1),
    "one run of five collapses, normal with the same spread": beside(collapsing, 2.0),
    "one run of five collapses, normal with a twentieth of the spread": beside(collapsing, 0.1),
}


@cache
def error(law: str, plan: SeedPlan) -> float:
    """Share of studies of equal means in which some pair is called different, at any look: of five arms, or of two."""
    drawn, arms = (LAWS[law], 5) if law in LAWS else (TWO[law], 2)
    x = drawn(np.random.default_rng(1), (STUDIES, arms, plan.most))
    return float((first_difference(x, plan, bounds.levels(plan, arms, control=False)) >= 0).mean())


@cache
def expected(gap: float, plan: SeedPlan) -> tuple[float, float]:
    """Mean seeds an arm of two normal arms, and the power: `gap` in standard deviations."""
    x = normal(np.random.default_rng(6), (STUDIES, 2, plan.most))
    x[:, 0] += gap
    seeds, better = one_pair(x, plan, bounds.levels(plan, 2, control=False))
    return float(seeds.mean()), float(better.mean())


def fixed(gap: float, power: float) -> float:
    """Seeds an arm with which Welch's test at 5 % has this power, between two numbers by a straight line."""
    return float(np.interp(power, _powers(gap), np.arange(2, LARGEST + 1)))


@cache
def _powers(gap: float) -> Sequence[float]:
    """The power at 2, 3, ..., 48 seeds an arm."""
    x = normal(np.random.default_rng(5), (STUDIES * 4, 2, LARGEST))
    x[:, 0] += gap
    return (bounds.smallest_p(x, range(2, LARGEST + 1), [(0, 1)]) <= 0.05).mean(1).tolist()


@cache
def expected_best(means: tuple[float, ...], plan: SeedPlan) -> tuple[float, float]:
    """Mean seeds of an arm of several normal ones, and how often the first is called better than all others."""
    x = normal(np.random.default_rng(9), (STUDIES, len(means), plan.most)) + np.array(means)[:, None]
    seeds, sign = study(x, plan, bounds.levels(plan, len(means), control=False))
    return float(seeds.mean()), float((sign[:, : len(means) - 1] == 1).all(1).mean())


def fixed_best(means: tuple[float, ...], power: float) -> float:
    """Seeds an arm with which the test of all pairs that keeps 5 % exactly, at a fixed number, does so as often."""
    n = np.arange(4, LARGEST + 1, 4)
    return float(np.interp(power, _powers_best(means), n))


@cache
def _powers_best(means: tuple[float, ...]) -> Sequence[float]:
    """At 4, 8, ..., 48 seeds: the level is the 5 % quantile of the smallest p-value of all pairs of equal arms."""
    rng, pairs, n = np.random.default_rng(3), pairs_of(len(means)), range(4, LARGEST + 1, 4)
    null = bounds.smallest_p(normal(rng, (STUDIES * 2, len(means), LARGEST)), n, pairs)
    x = normal(rng, (STUDIES, len(means), LARGEST)) + np.array(means)[:, None]
    return [_share_best(x, seeds, float(np.quantile(p, 0.05))) for seeds, p in zip(n, null, strict=True)]


def _share_best(x: np.ndarray, seeds: int, level: float) -> float:
    gap, sd, freedom = gaps(x, seeds, [(0, other) for other in range(1, x.shape[1])], paired=False)
    return float((differs(gap, sd, freedom, seeds, level) & (gap > 0)).all(1).mean())


def errors() -> list[str]:
    """The rows of the first table."""
    return [_row(law, (f"{error(law, plan):.1%}" for plan in PLANS)) for law in LAWS]


def errors_of_two() -> list[str]:
    """The rows of the second table."""
    return [_row(law, (f"{error(law, plan):.1%}" for plan in LATER)) for law in TWO]


def seeds() -> list[str]:
    """The rows of the third table."""
    return [_row(f"{gap:g}", (_cells(gap, plan) for plan in PLANS)) for gap in GAPS]


def _cells(gap: float, plan: SeedPlan) -> str:
    mean, power = expected(gap, plan)
    return f"{mean:.1f} | {power:.0%} | {f'{fixed(gap, power):.1f}' if gap else ''}"


def several(every: Sequence[tuple[float, ...]] = MEANS) -> list[str]:
    """The rows of the fourth table."""
    return [_row(", ".join(f"{mean:g}" for mean in means), (_best(means, plan) for plan in PLANS)) for means in every]


def _best(means: tuple[float, ...], plan: SeedPlan) -> str:
    mean, power = expected_best(means, plan)
    return f"{mean:.1f} | {power:.0%} | {fixed_best(means, power):.1f}"


def _row(first: str, cells: Iterator[str]) -> str:
    return f"| {first} | {' | '.join(cells)} |".replace("%", " %")


if __name__ == "__main__":
    for table in (errors, errors_of_two, seeds, several):
        print("\n".join(table()), "\n", flush=True)
