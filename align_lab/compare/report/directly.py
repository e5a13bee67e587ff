"""The names of arms at the ends of their lines, moved apart where lines end together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from align_lab.compare.document import Document
from align_lab.compare.report.marks import Spec

LINE = 14  # pixels between two names
ROOM = 118  # pixels beside a chart for them
MOST = 16  # arms; of more there is no room for every name


class End(TypedDict):
    """Where a line ends, and how far its name is moved down from there, in pixels."""

    arm: str
    x: float
    mean: float
    dy: float


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


def apart(wanted: dict[str, float], height: float) -> dict[str, float]:
    """Heights near the wanted ones, LINE apart, in their order; moved up where the last would leave the chart."""
    placed: dict[str, float] = {}
    below = -float(LINE)
    for name in sorted(wanted, key=wanted.__getitem__):
        below = placed[name] = max(wanted[name], below + LINE)
    above = height + LINE
    for name in reversed(placed):
        above = placed[name] = min(placed[name], above - LINE)
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
            "mark": {
                "type": "text",
                "align": "left",
                "dx": 8,
                "dy": row["dy"],
                "limit": ROOM - 10,
                "clip": False,
                "fontWeight": 600,
            },
            "encoding": {
                "x": x,
                "y": {"field": "mean", "type": "quantitative"},
                "text": {"field": "arm"},
            },
        }
        for row in rows
    ]
