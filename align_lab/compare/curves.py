"""Learning curves: every evaluation, bands over seeds on a common grid, and the reward-KL frontier. Pure numpy.

Shapes: R runs of an arm, E evaluations, C columns (`evaluations.COLUMNS`), G grid points, M metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from align_lab.compare.evaluations import AXES, COLUMN, GOLD, PROXY, Floats
from align_lab.compare.runs import Run
from align_lab.compare.values import count, number

SHOWN = (GOLD, PROXY, "eval/kl", "eval/length", "eval/entropy", "eval/distinct_2")
COUNTED = ("episode", "tokens")
GRID = 33  # points of an axis on which runs are evaluated at different places
POINTS = 10_000  # of all curves together: more would make the page heavy, not clearer


def stacked(runs: Sequence[Run]) -> Floats:
    """Evaluations of runs [R, E, C]; nan behind the last of a run that has fewer."""
    longest = max(len(run.rows) for run in runs)
    if all(len(run.rows) == longest for run in runs):
        return np.concatenate([run.rows for run in runs]).reshape(len(runs), longest, len(COLUMN))
    padded = np.full((len(runs), longest, len(COLUMN)), np.nan)
    for i, run in enumerate(runs):
        padded[i, : len(run.rows)] = run.rows
    return padded


def reached(x: Floats) -> Floats:
    """How far each run [R, E] had come at most, at each evaluation; nan where nothing was recorded yet."""
    return np.fmax.accumulate(x, axis=1)


def at(x: Floats, y: Floats, grid: Floats) -> Floats:
    """y [R, E, M] where the path of each run first reaches each x of the grid: [R, G, M], nan outside its range.

    Between evaluations e - 1 and e the path is a line: y = yₑ₋₁ + (g - xₑ₋₁)/(xₑ - xₑ₋₁) · (yₑ - yₑ₋₁). An axis that may turn
    back, as the KL does, is crossed for the first time at the first evaluation that lies at or beyond g.
    """
    so_far, last = reached(x), x.shape[1] - 1
    first = np.stack([(so_far < g).sum(axis=1) for g in grid], axis=1)  # [R, G], E where it is never reached
    after, before = np.minimum(first, last), np.clip(first - 1, 0, last)
    run = np.arange(len(x))[:, None]
    (x0, y0), (x1, y1) = ((x[run, place], y[run, place]) for place in (before, after))
    share = np.divide(grid - x0, x1 - x0, out=np.ones_like(x0), where=x1 > x0)[:, :, None]
    inside = (first <= last) & (x[:, :1] <= grid) & np.isfinite(x0)
    return np.where(inside[:, :, None], np.where(share == 1, y1, y0 + share * (y1 - y0)), np.nan)


def common_grid(axes: Sequence[Floats]) -> Floats:
    """The places of all evaluations where they are few, else GRID places as far apart from each other."""
    places = np.unique(np.concatenate([x[np.isfinite(x)] for x in axes]))
    return places if len(places) <= GRID else np.linspace(places[0], places[-1], GRID)


def bands(arms: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """Mean and 95 % t interval over the seeds of each arm [R, E, C], at each place that any of its runs reaches."""
    metrics = [COLUMN[name] for name in SHOWN]
    found = []
    for axis, column in AXES.items():
        grid = common_grid([x[:, :, COLUMN[column]] for x in arms.values()])
        for arm, x in arms.items() if len(grid) else ():
            values = at(x[:, :, COLUMN[column]], x[:, :, metrics], grid)
            found += _bands(axis, arm, grid, values)
    return sorted(found, key=lambda band: SHOWN.index(band["metric"]))


def _bands(axis: str, arm: str, grid: Floats, values: Floats) -> Iterator[dict[str, Any]]:
    """x̄ ± t₍ₙ₋₁₎ s/√n over those of the runs [R, G, M] that have a value there."""
    n, mean, half = t_bands(values)
    for i, g in enumerate(grid.tolist()):
        for j, metric in enumerate(SHOWN):
            if n[i, j] and AXES[axis] != metric:
                low, high = number(mean[i, j] - half[i, j]), number(mean[i, j] + half[i, j])
                band = {"metric": metric, "axis": axis, "arm": arm, "x": g}
                yield band | {"mean": float(mean[i, j]), "low": low, "high": high, "n": int(n[i, j])}


def t_bands(values: Floats) -> tuple[Any, Floats, Floats]:
    """Count, mean and half-width of `statistics.t_interval` over the first axis, without nan; half is nan below 2 values."""
    there = np.isfinite(values)
    n = there.sum(axis=0)
    mean = np.where(there, values, 0.0).sum(axis=0) / np.maximum(n, 1)
    squares = (np.where(there, values - mean, 0.0) ** 2).sum(axis=0)
    freedom = np.maximum(n - 1, 1)
    half = stdtrit(freedom, 0.975) * np.sqrt(squares / freedom / np.maximum(n, 1))
    return n, mean, np.where(n > 1, half, np.nan)


def curves(arms: Mapping[str, Sequence[Run]]) -> list[dict[str, Any]]:
    """Every evaluation of these runs, a row a metric."""
    places = list(_places(arms))
    return [
        {"metric": metric, **place, "value": value}
        for metric in SHOWN
        for place, row in places
        if (value := number(row[COLUMN[metric]])) is not None
    ]


def frontier(arms: Mapping[str, Sequence[Run]]) -> list[dict[str, Any]]:
    """What each run scored at which KL."""
    return [
        {key: place[key] for key in ("arm", "seed", "step", "kl")}
        | {"score": number(row[COLUMN[PROXY]]), "gold_score": number(row[COLUMN[GOLD]])}
        for place, row in _places(arms)
    ]


def _places(arms: Mapping[str, Sequence[Run]]) -> Iterator[tuple[dict[str, Any], Sequence[float]]]:
    for arm, runs in arms.items():
        for run in runs:
            for row in run.rows.tolist():
                place = {axis: (count if axis in COUNTED else number)(row[COLUMN[name]]) for axis, name in AXES.items()}
                yield {"arm": arm, "seed": run.seed, "run": run.name, "step": count(row[COLUMN["step"]]), **place}, row


def few(arms: Mapping[str, Sequence[Run]]) -> dict[str, Sequence[Run]]:
    """The first runs of each arm, as many as POINTS allows; at least one."""
    longest = max((len(run.rows) for runs in arms.values() for run in runs), default=1)
    most = max(1, POINTS // (longest * len(SHOWN) * max(1, len(arms))))
    return {arm: runs[:most] for arm, runs in arms.items()}
