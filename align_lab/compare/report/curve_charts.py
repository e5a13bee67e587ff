"""Charts of what happens during training: learning curves, the frontier of reward and KL, proxy against gold score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from align_lab.compare.report import words
from align_lab.compare.report.marks import Chart, along, arm, data, layered, number, tip
from align_lab.compare.report.palette import Look

_RUN = (("arm", "arm"), ("seed", "seed"), ("step", "step"))
LAST = [
    {"joinaggregate": [{"op": "max", "field": "x", "as": "last"}], "groupby": ["arm"]},
    {"filter": "datum.x === datum.last"},
]


def learning_curve(document: Mapping[str, Any], metric: str, axis: str, look: Look) -> Chart:
    """Mean with its band on the common grid, every seed as a thin line, an arm's shape at the end of its mean."""
    arms = [row["name"] for row in document["arms"]]
    seeds = {"x": along(axis, axis), "y": number(metric, words.with_unit(metric)), "detail": {"field": "run"}}
    x, y = along("x", axis), number("mean", words.with_unit(metric))
    told = tip(*_RUN, (axis, words.axis(axis)), (metric, words.metric(metric)))
    spec = layered(
        {"data": data("bands"), "mark": {"type": "area", "fillOpacity": min(0.14, 0.7 / len(arms))},
         "encoding": {"x": x, "y": number("low", words.with_unit(metric)), "y2": {"field": "high"}, **arm(arms, look=look)}},
        {"data": data("evaluations"), "mark": {"type": "line", "strokeWidth": 1, "strokeOpacity": 0.4},
         "encoding": {**seeds, "order": {"field": "step"}, **arm(arms, look=look)}},
        {"data": data("bands"), "mark": {"type": "line", "strokeWidth": 2.2},
         "encoding": {"x": x, "y": y, "order": {"field": "x"}, **arm(arms, "strokeDash", look=look)}},
        {"data": data("bands"), "transform": LAST, "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
         "encoding": {"x": x, "y": y, **arm(arms, "shape", look=look)}},
        {"data": data("evaluations"), "mark": {"type": "point", "size": 90, "opacity": 0, "filled": True},
         "encoding": {**seeds, "tooltip": told}},
        height=280,
    )  # fmt: skip
    return Chart(
        title=f"{words.metric(metric).capitalize()} over {words.axis(axis)}",
        alt=f"Learning curves: {words.metric(metric)} over {words.axis(axis)}. At the end: {_ends(document, metric, axis)}.",
        spec=spec,
        rows={"bands": {"metric": metric, "axis": axis}, "evaluations": {}},
        numbers={"data": "bands", "row": ["x", words.axis(axis)], "cell": ["mean", "low", "high"]},
    )


def _ends(document: Mapping[str, Any], metric: str, axis: str) -> str:
    last = {row["arm"]: row for row in document["bands"] if (row["metric"], row["axis"]) == (metric, axis)}
    return "; ".join(f"{name} {words.number(row['mean'])}" for name, row in last.items()) or "no evaluations"


def frontier(document: Mapping[str, Any], score: str, look: Look) -> Chart:
    """Score reached against KL paid: each evaluation a point, each run a line."""
    arms = [row["name"] for row in document["arms"]]
    y, title = score.removeprefix("eval/"), words.with_unit(score)
    place = {"x": number("kl", "KL (nats a sequence)"), "y": number(y, title), "detail": [{"field": "seed"}]}
    told = tip(*_RUN, ("kl", "KL"), (y, words.metric(score)))
    spec = layered(
        {"mark": {"type": "line", "strokeWidth": 1.2, "strokeOpacity": 0.45},
         "encoding": {**place, "order": {"field": "step"}, **arm(arms, "strokeDash", look=look)}},
        {"mark": {"type": "point", "filled": True, "size": 38, "opacity": 1, "fillOpacity": 0.85},
         "encoding": {**place, "tooltip": told, **arm(arms, "shape", look=look)}},
        height=300,
    )  # fmt: skip
    return Chart(
        title=f"{words.metric(score).capitalize()} against KL",
        alt=f"Frontier: {words.metric(score)} against the KL from the start policy, every evaluation of every run, for {', '.join(arms)}.",
        spec={**spec, "data": data("frontier")},
        rows={"frontier": {}},
        numbers={"data": "frontier", "columns": [["arm", "arm"], ["seed", "seed"], ["step", "step"], ["kl", "KL"],
                                                 [y, words.metric(score)]]},
    )  # fmt: skip


def proxy_against_gold(document: Mapping[str, Any], name: str, look: Look) -> Chart:
    """Both scores of one arm over √KL, thin lines for seeds, with the peak of gold and the checkpoint to keep."""
    x, y = _scales(document["frontier"])
    drawn = {"x": x, "y": y, **_kinds(look)}
    told = tip(("kind", "score"), *_RUN[1:], ("kl", "KL"), ("value", "value"))
    only = [{"filter": "datum.kind === 'keep'"}]
    spec = layered(
        {"data": data("frontier"), "transform": _BOTH, "mark": {"type": "line", "strokeWidth": 1, "strokeOpacity": 0.35},
         "encoding": {**drawn, "detail": {"field": "seed"}, "order": {"field": "step"}}},
        {"data": data("frontier"), "transform": [*_BOTH, _MEAN], "mark": {"type": "line", "strokeWidth": 2.2},
         "encoding": {**drawn, "order": {"field": "step"}}},
        {"data": data("frontier"), "transform": _BOTH, "mark": {"type": "point", "size": 80, "opacity": 0, "filled": True},
         "encoding": {"x": x, "y": y, "tooltip": told}},
        {"data": data("peaks"), "transform": only, "mark": {"type": "rule", "strokeDash": [2, 2], "color": look.colours["bad"]},
         "encoding": {"x": x}},
        {"data": data("peaks"), "mark": {"type": "point", "size": 70, "opacity": 1, "strokeWidth": 2, "color": look.colours["bad"]},
         "encoding": {"x": x, "y": {**y, "field": "gold_score"}, "tooltip": tip(*_RUN[1:], ("gold_score", "gold score"))}},
        {"data": data("peaks"), "transform": only,
         "mark": {"type": "text", "dy": {"expr": "13 * datum.line"}, "color": look.colours["bad"], **_beside(x)},
         "encoding": {"x": x, "y": {"value": 6}, "text": {"field": "label"}}},
        height=200,
    )  # fmt: skip
    return Chart(
        title=name,
        alt=_told(document["overoptimisation"], name),
        spec=spec,
        rows={"frontier": {"arm": name}, "peaks": {"arm": name}},
        numbers={"data": "frontier", "columns": [["seed", "seed"], ["step", "step"], ["kl", "KL"], ["score", "proxy score"],
                                                 ["gold_score", "gold score"]]},
    )  # fmt: skip


_BOTH = [
    {"fold": ["gold_score", "score"], "as": ["kind", "value"]},
    {"calculate": "datum.kind === 'score' ? 'proxy score' : 'gold score'", "as": "kind"},
]
_MEAN = {
    "aggregate": [{"op": "mean", "field": key, "as": key} for key in ("root_kl", "value")],
    "groupby": ["kind", "step"],
}


def _kinds(look: Look) -> dict[str, Any]:
    """Gold and proxy score told apart by colour and by dashes."""
    ranges = {"color": [look.colours["arm-0"], look.colours["arm-1"]], "strokeDash": [[1, 0], [5, 3]]}
    kind = {"field": "kind", "type": "nominal"}
    domain = ["gold score", "proxy score"]
    legend = {} if look.legend else {"legend": None}
    return {channel: {**kind, "scale": {"domain": domain, "range": ranges[channel]}, **legend} for channel in ranges}


def _beside(x: Mapping[str, Any]) -> dict[str, Any]:
    """A label stands on that side of its line where there is room."""
    far = f"datum.root_kl > {x['scale']['domain'][1] / 2!r}"
    return {"align": {"expr": f"{far} ? 'right' : 'left'"}, "dx": {"expr": f"{far} ? -4 : 4"}}


def _scales(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Equal scales for the small charts of all arms."""
    scores = [row[key] for row in rows for key in ("score", "gold_score") if row[key] is not None]
    reach = [max(0.0, row["kl"]) ** 0.5 for row in rows if row["kl"] is not None]
    x, y = number("root_kl", "√KL"), number("value", "score")
    x["scale"] |= {"domain": [0, max(reach, default=1.0)]}
    y["scale"] |= {"domain": [min(scores, default=0.0), max(scores, default=1.0)]}
    return x, y


def _told(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    said = [row["words"] for row in rows if row["arm"] == name and row["marked"] and row["words"]]
    return f"Proxy and gold score of {name} over the root of the KL. {'; '.join(said) or 'No over-optimisation is marked.'}"
