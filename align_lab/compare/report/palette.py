"""Colors, once for screens (as CSS variables) and once for figures (as they are).

The eight colors of arms were searched for the largest distance under normal sight and three kinds of color blindness
(OKLab distance ≥ 0.10 for every pair; Okabe-Ito's eight have 0.076), each with a contrast of at least 3 : 1. An arm has
a shape and a name besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LIGHT = {
    "paper": "#ffffff",
    "raised": "#f6f6f4",
    "ink": "#1b1d21",
    "soft": "#5b6068",
    "rule": "#8a8f98",
    "faint": "#e3e4e6",
    "link": "#0b4fb3",
    "good": "#176b3a",
    "bad": "#b3201b",
    "warn": "#8a5300",
    "better": "#7fb3dd",
    "worse": "#e8a76f",
    "arm-0": "#1640ad",
    "arm-1": "#e66700",
    "arm-2": "#830871",
    "arm-3": "#4395b1",
    "arm-4": "#133f2b",
    "arm-5": "#a66165",
    "arm-6": "#8359d3",
    "arm-7": "#735a13",
}
DARK = {
    "paper": "#15171b",
    "raised": "#1e2126",
    "ink": "#e8e8e6",
    "soft": "#a9aeb6",
    "rule": "#767b84",
    "faint": "#32363c",
    "link": "#8ab8ff",
    "good": "#7fd09b",
    "bad": "#ff8a80",
    "warn": "#f0b860",
    "better": "#2d5f8a",
    "worse": "#8a5320",
    "arm-0": "#4779ea",
    "arm-1": "#fb7b28",
    "arm-2": "#c394fa",
    "arm-3": "#93effd",
    "arm-4": "#71c1a3",
    "arm-5": "#cb4029",
    "arm-6": "#a47b92",
    "arm-7": "#f7db98",
}
COLORS = 8
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
MARKS = {  # shape -> its outline around 0, 0
    "circle": '<circle r="5"/>',
    "square": '<path d="M-4.5-4.5h9v9h-9z"/>',
    "triangle-up": '<path d="M0-5 5 4.5H-5z"/>',
    "diamond": '<path d="M0-6 5 0 0 6-5 0z"/>',
    "cross": '<path d="M-2-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z"/>',
    "triangle-down": '<path d="M0 5-5-4.5H5z"/>',
}
DASHES = ([1, 0], [6, 2], [2, 2], [8, 2, 2, 2], [4, 4])
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def variables(colors: Mapping[str, str]) -> str:
    """Declarations of CSS variables: `--ink: #1b1d21; ...`."""
    return " ".join(f"--{name}: {color};" for name, color in colors.items())


def on_screen() -> dict[str, str]:
    """Every color as a reference to its variable, so that charts follow dark mode and print without redrawing."""
    return {name: f"var(--{name})" for name in LIGHT}


@dataclass(frozen=True)
class Look:
    """How charts are drawn. legend: whether a chart names its arms; the page does that once for all of its charts."""

    colors: Mapping[str, str]
    legend: bool


def screen() -> Look:
    """The page's look."""
    return Look(on_screen(), legend=False)


def paper() -> Look:
    """The figures' look."""
    return Look(LIGHT, legend=True)


def config(colors: Mapping[str, str], *, size: int = 12) -> dict[str, Any]:
    """The look of every chart, as Vega-Lite's config."""
    text = {"labelColor": colors["ink"], "titleColor": colors["ink"], "labelFontSize": size, "titleFontSize": size}
    return {
        "background": None,
        "aria": False,  # a chart is one image with a description and a table, not a thousand marks
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            **text, "titleFontWeight": 500, "gridColor": colors["faint"], "domainColor": colors["rule"],
            "tickColor": colors["rule"], "tickSize": 4, "tickCount": 6, "labelFlush": False, "labelPadding": 4,
            "titlePadding": 8,
        },
        "legend": {
            **text, "title": None, "orient": "top", "offset": 6, "columnPadding": 16, "symbolOpacity": 1,
            "labelLimit": 220,
            "columns": {"signal": "max(1, floor(width / 130))"},
        },
        "title": {"color": colors["ink"], "fontSize": size + 1, "fontWeight": 600, "anchor": "start", "offset": 8},
        "text": {"color": colors["ink"], "fontSize": size},
        "rule": {"color": colors["rule"]},
        "range": {
            "category": [colors[f"arm-{place}"] for place in range(COLORS)],
            "symbol": list(SHAPES),
        },
    }  # fmt: skip
