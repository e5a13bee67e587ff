"""The names of arms at the ends of their lines, moved apart where lines end together."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import TypedDict

from align_lab.compare.document import Document
from align_lab.compare.report.marks import Spec

LINE = 14  # pixels between two lines of names
LETTERS = 15  # of a line, where a name has a blank there
MOST = 16  # arms; of more there is no room for every name


class End(TypedDict):
    """Where a line ends, and how far its name is moved down from there, in pixels."""

    arm: str
    x: float
    mean: float
    dy: float


def lines(name: str) -> list[str]:
    """A long name in lines: `REINFORCE++`, `with a baseline`."""
    return textwrap.wrap(name, LETTERS, break_long_words=False) or [name]


def ends(document: Document, metric: str, axis: str, *, height: int) -> list[End]:
    """Of every mean; empty where there are too many arms."""
    bands = [row for row in document["bands"] if (row["metric"], row["axis"]) == (metric, axis)]
    last = {row["arm"]: row for row in bands}
    if not last or len(last) > MOST:
        return []
    known = [value for row in bands for value in (row["low"], row["high"], row["mean"]) if value is not None]
    span = (max(known) - min(known)) or 1.0
    lowest = min(known)
    wanted = {name: height * (1 - (row["mean"] - lowest) / span) for name, row in last.items()}
    placed = apart(wanted, height)
    return [
        {"arm": name, "x": row["x"], "mean": row["mean"], "dy": round(placed[name] - wanted[name], 1)}
        for name, row in last.items()
    ]


def apart(wanted: Mapping[str, float], height: float) -> dict[str, float]:
    """Middles of names near the wanted ones, in their order, each with room for its lines; moved up where the last
    would leave the chart.
    """
    half = {name: LINE * len(lines(name)) / 2 for name in wanted}
    placed: dict[str, float] = {}
    below = -LINE / 2
    for name in sorted(wanted, key=wanted.__getitem__):
        placed[name] = max(wanted[name], below + half[name])
        below = placed[name] + half[name]
    above = height + LINE / 2
    for name in reversed(placed):
        placed[name] = min(placed[name], above - half[name])
        above = placed[name] - half[name]
    return placed


def named(rows: Sequence[End], x: Spec) -> list[Spec]:
    """A layer a name, in the color of text: each has its own offset."""
    return [
        {
            "data": {"name": "bands"},
            "transform": [
                {"filter": {"field": "arm", "equal": row["arm"]}},
                {"joinaggregate": [{"op": "max", "field": "x", "as": "last"}]},
                {"filter": "datum.x === datum.last"},
            ],
            "mark": text(row["arm"], dx=8, dy=row["dy"]),
            "encoding": {
                "x": x,
                "y": {"field": "mean", "type": "quantitative"},
                "text": {"value": lines(row["arm"])},
            },
        }
        for row in rows
    ]


def text(name: str, *, dx: float, dy: float = 0.0) -> Spec:
    """The mark of a name, whole, wherever its chart ends; its lines stand around the place."""
    dy -= LINE * (len(lines(name)) - 1) / 2
    mark = {"type": "text", "align": "left", "baseline": "middle", "fontWeight": 600, "lineHeight": LINE}
    return {**mark, "dx": dx, "dy": dy, "clip": False, "limit": 0}


def in_lines(names: Sequence[str]) -> Spec:
    """Labels of an axis of arms, long names in lines."""
    several = {name: lines(name) for name in names if len(lines(name)) > 1}
    expression = f"{json.dumps(several)}[datum.label] || datum.label" if several else "datum.label"
    return {"labelExpr": expression, "labelLimit": 0, "labelLineHeight": LINE}
