"""Prints the measured tables of docs/seeds.md. python -m tests.compare.laws_table

How often five equal arms are called different, under five laws of the seeds; and how many seeds two arms take, beside
the fixed number with the same power.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.sequential import bounds
from tests.compare.sequential_twin import first_difference, one_pair
from tests.compare.test_coverage import bimodal, collapsing, lognormal, normal

STUDIES = 10_000
MOST = (24, 30)
GAPS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)


def unequal(rng, shape):
    """Normal, with standard deviations from 1 to 10."""
    return normal(rng, shape) * np.geomspace(1, 10, shape[1])[:, None]


LAWS = {
    "normal": normal,
    "normal, standard deviations from 1 to 10": unequal,
    "lognormal": lognormal,
    "one run of five collapses": collapsing,
    "a run works or fails, half and half": bimodal,
}


@cache
def error(law: str, most: int) -> float:
    """Share of studies of five equal arms in which some pair is called different, at any look."""
    plan = SeedPlan(most=most)
    x = LAWS[law](np.random.default_rng(1), (STUDIES, 5, most))
    return float((first_difference(x, plan, bounds.levels(plan, 5, control=False)) >= 0).mean())


@cache
def expected(gap: float, most: int) -> tuple[float, float]:
    """Mean seeds an arm of two normal arms, and the power: `gap` and `smallest` = 1 in standard deviations."""
    plan = SeedPlan(smallest=1.0, most=most)
    x = normal(np.random.default_rng(6), (STUDIES, 2, most))
    x[:, 0] += gap
    seeds, better = one_pair(x, plan, bounds.levels(plan, 2, control=False))
    return float(seeds.mean()), float(better.mean())


def fixed(gap: float, power: float) -> float:
    """Seeds an arm with which Welch's test at 5 % has this power, between two numbers by a straight line."""
    return float(np.interp(power, _powers(gap), np.arange(2, 49)))


@cache
def _powers(gap: float) -> Sequence[float]:
    """The power at 2, 3, ..., 48 seeds an arm."""
    x = normal(np.random.default_rng(5), (STUDIES * 4, 2, 48))
    x[:, 0] += gap
    return (bounds.smallest_p(x, range(2, 49), [(0, 1)]) <= 0.05).mean(1).tolist()


def errors() -> list[str]:
    """The rows of the first table."""
    return [f"| {law} | {' | '.join(f'{error(law, most):.1%}' for most in MOST)} |".replace("%", " %") for law in LAWS]


def seeds() -> list[str]:
    """The rows of the second table."""
    return [f"| {gap:g} | {' | '.join(_cells(gap, most) for most in MOST)} |".replace("%", " %") for gap in GAPS]


def _cells(gap: float, most: int) -> str:
    mean, power = expected(gap, most)
    return f"{mean:.1f} | {power:.0%} | {f'{fixed(gap, power):.1f}' if gap else ''}"


if __name__ == "__main__":
    print("\n".join([*errors(), "", *seeds()]))
