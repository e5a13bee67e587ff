"""Charts of how the arms end: final scores with every seed, ranking by axis, the matrix of win rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from align_lab.compare.document import Document
from align_lab.compare.report import directly, words
from align_lab.compare.report.marks import Chart, Spec, arm, data, layered, number, tip
from align_lab.compare.report.palette import Look
from align_lab.compare.report.result_tables import FEWEST_IQM, has_iqm

NAMED_WIDTH = 60  # pixels between the axes of the ranking, below which their names stand aslant
UPRIGHT = 6  # arms of a square chart whose names have room beside each other


def final_scores(document: Document, metric: str, look: Look) -> Chart:
    """An arm a line: its seeds as rings, mean with t interval below, with enough seeds the IQM with its interval below
    that; the start as a dashed line.
    """
    arms = [row["name"] for row in document["arms"]]
    shown = [(row["name"], row["metrics"][metric]) for row in document["arms"] if metric in row["metrics"]]
    ends = "; ".join(
        f"{name} {words.number(row['mean'])}, {words.between(row['low'], row['high'], 3)}" for name, row in shown
    )
    return Chart(
        title=f"Final {words.metric(document, metric)}",
        alt=f"Final {words.metric(document, metric)} by arm, mean and interval: {ends}.",
        spec=layered(*_score_layers(document, metric, replace(look, legend=False)), height=38 * max(2, len(arms))),
        rows={"arms": {"metric": metric}, "seeds": {"metric": metric}},
    )


def _score_layers(document: Document, metric: str, look: Look) -> list[Spec]:
    arms = [row["name"] for row in document["arms"]]
    title, color = words.with_unit(document, metric), arm(arms, look=look)
    axis = {**directly.in_lines(arms), "ticks": False, "domain": False, "grid": True}
    y = {"field": "arm", "type": "nominal", "sort": list(arms), "title": None, "axis": axis}
    each = tip(("arm", "arm"), ("seed", "seed"), ("run", "run"), ("value", words.metric(document, metric)))
    means = tip(("arm", "arm"), ("mean", "mean"), ("low", "from"), ("high", "to"), ("iqm", "IQM"))

    def at(name: str, **rest: Any) -> Spec:
        return {"x": number(name, title), "y": y, **color, **rest}

    layers = [
        {"data": data("arms"), "transform": [{"aggregate": [{"op": "mean", "field": "start", "as": "start"}]}],
         "mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": {"x": number("start", title)}},
        {"data": data("arms"), "mark": {"type": "rule", "strokeWidth": 2.4},
         "encoding": at("low", x2={"field": "high"})},
        {"data": data("seeds"),
         "mark": {"type": "point", "size": 40, "opacity": 0.9, "yOffset": -9, "strokeWidth": 1.4},
         "encoding": at("value", tooltip=each)},
        {"data": data("arms"), "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
         "encoding": at("mean", tooltip=means)},
    ]  # fmt: skip
    if not has_iqm(document):
        return layers
    enough = [{"filter": f"datum.n >= {FEWEST_IQM}"}]
    return [
        *layers,
        {"data": data("arms"), "transform": enough, "mark": {"type": "rule", "strokeWidth": 1.1, "yOffset": 9},
         "encoding": at("iqm_low", x2={"field": "iqm_high"})},
        {"data": data("arms"), "transform": enough,
         "mark": {"type": "point", "shape": "diamond", "size": 36, "opacity": 1, "filled": True, "yOffset": 9},
         "encoding": at("iqm", tooltip=means)},
    ]  # fmt: skip


def ranking(document: Document, look: Look) -> Chart:
    """The order of the arms at equal episodes, tokens, seconds, FLOPs and KL; a ring marks an arm that overtakes."""
    arms = [row["name"] for row in document["arms"]]
    place, look = _places(arms, [words.axis(row["axis"]) for row in document["axes"]]), replace(look, legend=False)
    pointer = tip(
        ("arm", "arm"), ("equal", "at equal"), ("at", "at"), ("mean", "mean"), ("low", "from"), ("high", "to")
    )
    ring = {"type": "point", "size": 320, "strokeWidth": 2, "opacity": 1, "color": look.colors["bad"]}
    spec = layered(
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {**place, **arm(arms, "strokeDash", look=look)}},
        {"mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
         "encoding": {**place, "tooltip": pointer, **arm(arms, "shape", look=look)}},
        {"transform": [{"filter": "datum.overtakes"}], "mark": ring, "encoding": place},
        *(_named(document, name, place) for name in arms),
        height=max(3, len(arms)) * 36,
    )  # fmt: skip
    return Chart(
        title=f"Ranking by {words.metric(document, document['metric'])} at equal budgets",
        alt=f"Rank of every arm at equal budgets. {' '.join(words.sentence(row['words']) for row in document['axes'])}",
        spec={**spec, "data": data("ranking")},
        rows={"ranking": {}},
    )


def _named(document: Document, name: str, place: Spec) -> Spec:
    """An arm's name behind the last of the axes."""
    last = words.axis(document["axes"][-1]["axis"])
    only = [{"filter": {"field": "equal", "equal": last}}, {"filter": {"field": "arm", "equal": name}}]
    return {
        "transform": only,
        "mark": directly.text(name, dx=14),
        "encoding": {**place, "text": {"value": directly.lines(name)}},
    }


def _places(arms: Sequence[str], axes: Sequence[str]) -> Spec:
    narrow = f"width < {NAMED_WIDTH * len(axes)}"
    across = {
        "labelAngle": {"expr": f"{narrow} ? -50 : 0"},
        "labelAlign": {"expr": f"{narrow} ? 'right' : 'center'"},
        "labelBaseline": {"expr": f"{narrow} ? 'middle' : 'top'"},
        "labelExpr": f"{narrow} ? datum.label : split(datum.label, regexp('[ -]'))",
        "labelOverlap": False,
        "labelLimit": 0,
        "grid": True,
    }
    down = {
        "format": "d",
        "grid": False,
        "labelOverlap": False,
        "tickCount": len(arms),
        "values": list(range(1, len(arms) + 1)),
    }
    scale = {"reverse": True, "zero": False, "domain": [0.6, len(arms) + 0.4], "nice": False}
    return {
        "x": {"field": "equal", "type": "nominal", "sort": list(axes), "title": "compared at equal", "axis": across},
        "y": {"field": "rank", "type": "quantitative", "title": "rank", "axis": down, "scale": scale},
    }


def win_rates(document: Document, look: Look) -> Chart:
    """Row against column; blue above a half, brown below, the stronger the further from it."""
    arms, score = list(document["wins"]["arms"]), words.metric(document, document["metric"])
    spec = layered(
        {"mark": {"type": "rect"}, "encoding": _cells(arms, look)},
        {"mark": {"type": "text"}, "encoding": {**_square(arms), "text": {"field": "rate", "format": ".2f"}}},
        height={"step": 30},
    )
    further = [
        {"calculate": "datum.rate >= 0.5", "as": "wins"},
        {"calculate": "abs(datum.rate - 0.5)", "as": "strength"},
    ]
    return Chart(
        title="Win rates",
        alt=(
            f"Matrix of win rates under the {score}, row against column, for {', '.join(arms)}; the same "
            "numbers are in the table."
        ),
        spec={
            **spec,
            "data": data("wins"),
            "transform": further,
            "width": {"step": 84 if len(arms) <= UPRIGHT else 46},
        },
        rows={"wins": {}},
    )


def _square(arms: Sequence[str]) -> Spec:
    axis = {**directly.in_lines(arms), "ticks": False, "domain": False}
    upright = {"labelAngle": 0} if len(arms) <= UPRIGHT else {"labelAngle": -40, "labelExpr": "datum.label"}
    above = {**axis, "orient": "top", **upright}
    return {
        "x": {"field": "b", "type": "nominal", "sort": list(arms), "title": "against", "axis": above},
        "y": {"field": "a", "type": "nominal", "sort": list(arms), "title": None, "axis": axis},
    }


def _cells(arms: Sequence[str], look: Look) -> Spec:
    side = {"domain": [True, False], "range": [look.colors["better"], look.colors["worse"]]}
    strength = {"domain": [0, 0.5], "range": [0.05, 1]}
    return {
        **_square(arms),
        "color": {"field": "wins", "type": "nominal", "legend": None, "scale": side},
        "opacity": {"field": "strength", "type": "quantitative", "legend": None, "scale": strength},
        "tooltip": tip(("a", "arm"), ("b", "against"), ("rate", "wins"), ("low", "from"), ("high", "to")),
    }
