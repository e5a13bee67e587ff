"""What all charts share: a chart, and the encodings of arms and numbers. Everything here is plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from align_lab.compare.report import words
from align_lab.compare.report.palette import COLORS, DASHES, SHAPES, Look

Spec = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
LARGE = ("episode", "tokens", "labels", "flops")


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite spec with named data, and the same in words and numbers for whoever does not see it.

    rows: data set -> what its rows must equal; numbers: how to lay the same numbers out as a table (empty where a table
    of the page holds them already): `{"data", "columns": [[field, heading]]}` or, an arm a column, `{"data", "row":
    [field, heading], "cell"}`.
    """

    title: str
    alt: str
    spec: Spec
    rows: Mapping[str, Mapping[str, Any]]
    numbers: Mapping[str, Any] = field(default_factory=dict)


def layered(*layers: Spec, height: int | Spec) -> Spec:
    """As wide as the place it is put in."""
    return {"$schema": SCHEMA, "width": "container", "height": height, "layer": list(layers)}


def data(name: str) -> Spec:
    """A data set by its name."""
    return {"name": name}


def arm(arms: Sequence[str], *channels: str, look: Look) -> Spec:
    """Encodings of an arm by color and, where asked for, by shape and strokeDash: the same in every chart."""
    ranges = {
        "color": {},
        "shape": {"range": [SHAPES[place % len(SHAPES)] for place in range(len(arms))]},
        "strokeDash": {"range": [DASHES[(place // COLORS + place) % len(DASHES)] for place in range(len(arms))]},
    }
    legend = {"symbolStrokeWidth": 0} if look.legend else None  # no outline: one in dashes looks broken
    return {
        channel: {
            "field": "arm",
            "type": "nominal",
            "scale": {"domain": list(arms), **ranges[channel]},
            "legend": legend,
        }
        for channel in ("color", *channels)
    }


def number(name: str, title: str | None = None) -> Spec:
    """A quantitative position; its scale need not begin at zero."""
    return {"field": name, "type": "quantitative", "title": title, "scale": {"zero": False, "nice": True}}


def upward(name: str, title: str) -> Spec:
    """A height: marks at both ends of the scale are whole."""
    at = number(name, title)
    return {**at, "scale": {**at["scale"], "padding": 7}}


def along(name: str, axis: str) -> Spec:
    """The x position on one of the axes of learning curves; large numbers read 12k, 3M."""
    title = f"{words.axis(axis)} (nats a sequence)" if axis == "kl" else words.axis(axis)
    short = {"axis": {"labelExpr": "format(datum.value, '~s')"}} if axis in LARGE else {}
    return {**number(name, title), **short}


def tip(*fields: tuple[str, str]) -> list[Spec]:
    """Tooltip of (field, heading) pairs; numbers with four significant digits."""
    texts = {"arm", "run", "a", "b", "kind", "equal"}
    return [
        {"field": name, "title": title}
        | ({"type": "nominal"} if name in texts else {"type": "quantitative", "format": ",.4~g"})
        for name, title in fields
    ]
