"""What an evaluation measured, with intervals over prompts, and its difference from the start policy's.

The completions of a prompt are averaged first, so that prompts are what is counted. Differences are paired: both
policies have answered the same prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from align_lab.train.evaluation_metrics import by_set, prompt_means, summary
from align_lab.train.intervals import Ends, bounded_mean, unbounded_mean

COLUMNS = {"win_rate": "win", "kl": "kl", "length": "length", "ended": "ended"}  # metric -> column of the rows
SHARES = ("win", "ended")  # columns that lie in [0, 1]

Row = Mapping[str, Any]
Measures = dict[str, dict[str, float | None]]


def measured(
    rows: Sequence[Row], start: Sequence[Row], *, judges: Sequence[str], decides: str, pass_at: Sequence[int]
) -> Measures:
    """Metric -> value, low, high (95 %), start, change, change_low, change_high; None where there is none.

    A score of 0 or 1, and what else is a share, has `intervals.bounded_mean`; any other mean over prompts has
    `intervals.unbounded_mean`; what is no mean over prompts has no interval.
    """
    after, before = (summary(each, judges=judges, decides=decides, pass_at=pass_at) for each in (rows, start))
    columns = {**{name: name for name in ("score", *judges)}, **COLUMNS}
    points = {name: _point(after.get(name), before.get(name)) for name in {**before, **after} if not _is_an_end(name)}
    for name, measures in points.items():
        if f"{name}_low" in after:
            measures |= {"low": after[f"{name}_low"], "high": after[f"{name}_high"]}
    after_sets, before_sets = by_set(rows), by_set(start)
    for number, (name, members) in enumerate(after_sets.items()):
        prefix = f"eval/{name}/" if number else "eval/"
        for metric, column in columns.items():
            is_share = column in SHARES or (column not in COLUMNS.values() and _is_binary((*members, *start), column))
            points.get(f"{prefix}{metric}", {}).update(_intervals(members, before_sets[name], column, bounded=is_share))
    return points


def _is_binary(rows: Sequence[Row], column: str) -> bool:
    return all(row[column] in (None, 0, 1) for row in rows)


def _is_an_end(name: str) -> bool:
    """Is it no measure of its own, but says how sure another one is?"""
    return name.endswith(("_low", "_high", "_se"))


def _point(after: float | None, before: float | None) -> dict[str, float | None]:
    change = after - before if after is not None and before is not None else None
    empty = dict.fromkeys(("low", "high", "change_low", "change_high"))
    return {"value": after, **empty, "start": before, "change": change}


def _intervals(rows: Sequence[Row], start: Sequence[Row], column: str, *, bounded: bool) -> dict[str, float | None]:
    after, before = prompt_means(rows, column), prompt_means(start, column)
    differences = [after[index] - before[index] for index in after.keys() & before.keys()]
    low, high = _ends(list(after.values()), bounded)
    change_low, change_high = _ends_of_differences(sorted(differences), bounded)
    return {"low": low, "high": high, "change_low": change_low, "change_high": change_high}


def _ends(values: Sequence[float], bounded: bool) -> tuple[float | None, float | None]:
    ends: Ends | None = bounded_mean(values) if bounded and values else unbounded_mean(values)
    return ends or (None, None)


def _ends_of_differences(values: Sequence[float], bounded: bool) -> tuple[float | None, float | None]:
    """Differences of two shares lie in [-1, 1]."""
    if not (bounded and values):
        return _ends(values, bounded=False)
    low, high = bounded_mean([(value + 1) / 2 for value in values])
    return 2 * low - 1, 2 * high - 1
