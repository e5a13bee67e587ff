"""Learning curves: every evaluation, bands over seeds on a common grid, and the reward-KL frontier. Pure numpy.

Shapes: R runs of an arm, E evaluations, C columns (`evaluations.Columns`), G grid points, M metrics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from align_lab.compare.document import SCORE, Band, Frontier, Place, Point
from align_lab.compare.evaluations import AXES, Floats, Table
from align_lab.compare.runs import Run
from align_lab.compare.values import count, number

BESIDE = (SCORE, "eval/kl", "eval/length", "eval/entropy", "eval/distinct_2")
GRID = 33  # points of an axis on which runs are evaluated at different places
POINTS = 10_000  # of all curves together: more would make the page heavy, not clearer


def drawn(metric: str) -> list[str]:
    """Metrics whose curves are drawn: the one that decides, then what should stand beside it."""
    return list(dict.fromkeys((metric, *BESIDE)))


def stacked(runs: Sequence[Run]) -> Table:
    """Evaluations of runs [R, E, C] that have the same columns; nan behind the last of a run that has fewer."""
    columns = runs[0].rows.columns
    longest = max(len(run.rows) for run in runs)
    if all(len(run.rows) == longest for run in runs):
        shape = (len(runs), longest, len(columns.names))
        return Table(columns, np.concatenate([run.rows.values for run in runs]).reshape(shape))
    padded = np.full((len(runs), longest, len(columns.names)), np.nan)
    for i, run in enumerate(runs):
        padded[i, : len(run.rows)] = run.rows.values
    return Table(columns, padded)


def reached(x: Floats) -> Floats:
    """How far each run [R, E] had come at most, at each evaluation; nan where nothing was recorded yet."""
    return np.fmax.accumulate(x, axis=1)


def at(x: Floats, y: Floats, grid: Floats) -> Floats:
    """y [R, E, M] where the path of each run first reaches each x of the grid: [R, G, M], nan outside its range.

    Between evaluations e - 1 and e the path is a line: y = yₑ₋₁ + (g - xₑ₋₁)/(xₑ - xₑ₋₁) · (yₑ - yₑ₋₁). An axis that
    may turn back, as the KL does, is crossed for the first time at the first evaluation that lies at or beyond g.
    """
    first, last = _first_beyond(reached(x), grid), x.shape[1] - 1
    row, flat = x.shape[1] * np.arange(len(x))[:, None], y.reshape(-1, y.shape[2])
    after, before = row + np.minimum(first, last), row + np.clip(first - 1, 0, last)
    (x0, y0), (x1, y1) = ((x.take(place), flat.take(place, axis=0)) for place in (before, after))
    share = np.divide(grid - x0, x1 - x0, out=np.ones_like(x0), where=x1 > x0)
    share[(first > last) | (x[:, :1] > grid) | np.isnan(x0)] = np.nan
    values = y0 + share[:, :, None] * (y1 - y0)
    np.copyto(values, y1, where=(share == 1)[:, :, None])
    return values


def _first_beyond(so_far: Floats, grid: Floats) -> NDArray[np.int64]:
    """The evaluation of each run [R, E] that first lies at or beyond each point of the grid [R, G]; E where none does.

    [1, G] where all runs were evaluated at the same places, as they mostly are.
    """
    rows = so_far[:1] if (so_far == so_far[0]).all() else so_far
    first = np.zeros((len(rows), len(grid)), dtype=np.int64)
    for come in rows.T:
        first += come[:, None] < grid
    return first


def common_grid(axes: Sequence[Floats]) -> Floats:
    """The places of all evaluations where they are few, else GRID places as far apart from each other."""
    places = np.unique(np.concatenate([x[np.isfinite(x)] for x in axes]))
    return places if len(places) <= GRID else np.linspace(places[0], places[-1], GRID)


def bands(arms: Mapping[str, Table], metric: str) -> list[Band]:
    """Mean and 95 % t interval over the seeds of each arm [R, E, C], up to the place that all of its runs reach.

    Beyond the end of the first run a mean would jump, and a band widen, because a seed is gone and not for what is
    measured: only single runs go on from there.
    """
    metrics = drawn(metric)
    values = {arm: table.select(metrics) for arm, table in arms.items()}
    result: list[Band] = []
    for axis, column in AXES.items():
        places = {arm: table[column] for arm, table in arms.items()}
        grid = common_grid(list(places.values()))
        for arm, x in places.items() if len(grid) else ():
            result += _bands(axis, arm, _Grid(metrics, grid, at(x, values[arm], grid)))
    return sorted(result, key=lambda band: metrics.index(band["metric"]))


@dataclass(frozen=True)
class _Grid:
    """Values [R, G, M] of metrics at the places of a grid [G]."""

    metrics: Sequence[str]
    places: Floats
    values: Floats


def _bands(axis: str, arm: str, grid: _Grid) -> Iterator[Band]:
    """x̄ ± t₍ₙ₋₁₎ s/√n over those of the runs that have a value there."""
    n, mean, half = t_bands(grid.values)
    ends = _ends(grid.values)
    for i, x in enumerate(grid.places.tolist()):
        for j, metric in enumerate(grid.metrics):
            if n[i, j] and i <= ends[j] and AXES[axis] != metric:
                low, high = number(mean[i, j] - half[i, j]), number(mean[i, j] + half[i, j])
                yield {
                    "metric": metric, "axis": axis, "arm": arm, "x": x,
                    "mean": float(mean[i, j]), "low": low, "high": high, "n": int(n[i, j]),
                }  # fmt: skip


def _ends(values: Floats) -> NDArray[np.int64]:
    """The last place of a grid that every run reaches which has the metric at all: [R, G, M] -> [M]."""
    there = np.isfinite(values)
    last = there.shape[1] - 1 - there[:, ::-1].argmax(axis=1)  # of each run [R, M]
    return np.where(there.any(axis=1), last, there.shape[1]).min(axis=0)


def t_bands(values: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Count, mean and half-width of `statistics.t_interval` over the first axis, without nan; half is nan below 2
    values.
    """
    there = np.isfinite(values)
    n = there.sum(axis=0)
    mean = np.where(there, values, 0.0).sum(axis=0) / np.maximum(n, 1)
    squares = (np.where(there, values - mean, 0.0) ** 2).sum(axis=0)
    freedom = np.maximum(n - 1, 1)
    half = stdtrit(freedom, 0.975) * np.sqrt(squares / freedom / np.maximum(n, 1))
    return n, mean, np.where(n > 1, half, np.nan)


def curves(arms: Mapping[str, Sequence[Run]], metric: str) -> list[Point]:
    """Every evaluation of these runs, a row a metric."""
    records = [(run, _places(arm, run)) for arm, runs in arms.items() for run in runs]
    return [point for name in drawn(metric) for run, places in records for point in _points(run, name, places)]


def _points(run: Run, metric: str, places: Sequence[Place]) -> Iterator[Point]:
    for place, value in zip(places, run.rows[metric].tolist(), strict=True):
        if math.isfinite(value):
            yield {"metric": metric, **place, "value": value}


def _places(arm: str, run: Run) -> list[Place]:
    columns = {name: run.rows[name].tolist() for name in ("step", *AXES.values())}
    return [
        {
            "arm": arm, "seed": run.seed, "run": run.name, "step": count(columns["step"][i]),
            "episode": count(columns["episode"][i]), "tokens": count(columns["budget/tokens"][i]),
            "labels": count(columns["budget/labels"][i]),
            "seconds": number(columns["time/elapsed"][i]), "flops": number(columns["budget/flops"][i]),
            "kl": number(columns["eval/kl"][i]),
        }
        for i in range(len(run.rows))
    ]  # fmt: skip


def frontier(arms: Mapping[str, Sequence[Run]], metric: str) -> list[Frontier]:
    """What each run scored at which KL."""
    return [row for arm, runs in arms.items() for run in runs for row in _frontier(run, arm, metric)]


def _frontier(run: Run, arm: str, metric: str) -> Iterator[Frontier]:
    columns = (run.rows[name].tolist() for name in ("step", "eval/kl", SCORE, metric))
    for step, kl, score, decides in zip(*columns, strict=True):
        yield {
            "arm": arm, "seed": run.seed, "step": count(step), "kl": number(kl),
            "score": number(score), "decides": number(decides),
        }  # fmt: skip


def few(arms: Mapping[str, Sequence[Run]], metric: str) -> dict[str, Sequence[Run]]:
    """The first runs of each arm, as many as POINTS allows; at least one."""
    longest = max((len(run.rows) for runs in arms.values() for run in runs), default=1)
    most = max(1, POINTS // (longest * len(drawn(metric)) * max(1, len(arms))))
    return {arm: runs[:most] for arm, runs in arms.items()}
