"""Charts of what happens during training: learning curves, the frontier of reward and KL, both scores of an arm."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from align_lab.compare.document import SCORE, Document, Frontier
from align_lab.compare.report import directly, reached, words
from align_lab.compare.report.marks import Chart, Spec, along, arm, data, layered, number, tip, upward
from align_lab.compare.report.palette import Look

HEIGHT, FRONTIER = 280, 300  # pixels
_RUN = (("arm", "arm"), ("seed", "seed"), ("step", "step"))
LAST = [
    {"joinaggregate": [{"op": "max", "field": "x", "as": "last"}], "groupby": ["arm"]},
    {"filter": "datum.x === datum.last"},
]


def learning_curve(document: Document, metric: str, axis: str, look: Look) -> Chart:
    """Mean with its band on the common grid, every seed as a thin line, an arm's shape at the end of its mean."""
    arms = [row["name"] for row in document["arms"]]
    seeds = {"x": along(axis, axis), "y": upward(metric, words.with_unit(document, metric)), "detail": {"field": "run"}}
    x, y = along("x", axis), upward("mean", words.with_unit(document, metric))
    pointer = tip(*_RUN, (axis, words.axis(axis)), (metric, words.metric(document, metric)))
    ends = directly.ends(document, metric, axis, height=HEIGHT)
    look, of = replace(look, legend=look.legend and not ends), {"metric": metric, "axis": axis}
    spec = layered(
        {"data": data("areas"), "mark": {"type": "area", "fillOpacity": min(0.14, 0.7 / len(arms))},
         "encoding": {"x": x, "y": upward("low", words.with_unit(document, metric)), "y2": {"field": "high"},
                      **arm(arms, look=look)}},
        {"data": data("evaluations"), "mark": {"type": "line", "strokeWidth": 1, "strokeOpacity": 0.4},
         "encoding": {**seeds, "order": {"field": "step"}, **arm(arms, look=look)}},
        {"data": data("bands"), "mark": {"type": "line", "strokeWidth": 2.2},
         "encoding": {"x": x, "y": y, "order": {"field": "x"}, **arm(arms, "strokeDash", look=look)}},
        {"data": data("bands"), "transform": LAST, "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
         "encoding": {"x": x, "y": y, **arm(arms, "shape", look=look)}},
        *directly.named(ends, x),
        {"data": data("evaluations"), "mark": {"type": "point", "size": 90, "opacity": 0, "filled": True},
         "encoding": {**seeds, "tooltip": pointer}},
        height=HEIGHT,
    )  # fmt: skip
    return Chart(
        title=f"{words.capitalized(words.metric(document, metric))} over {words.axis(axis)}",
        alt=(
            f"Learning curves: {words.metric(document, metric)} over {words.axis(axis)}. At the end: "
            f"{_ends(document, metric, axis)}."
        ),
        spec=spec,
        rows={"bands": of, "areas": of, "evaluations": {}},
        numbers={"data": "bands", "row": ["x", words.axis(axis)], "cell": ["mean", "low", "high"]},
    )


def _ends(document: Document, metric: str, axis: str) -> str:
    last = {row["arm"]: row for row in document["bands"] if (row["metric"], row["axis"]) == (metric, axis)}
    return "; ".join(f"{name} {words.number(row['mean'])}" for name, row in last.items()) or "no evaluations"


def frontier(document: Document, score: str, look: Look) -> Chart:
    """Score reached against KL paid: each evaluation a point, each run a line; an arm's name at its mean end."""
    arms = [row["name"] for row in document["arms"]]
    label, y = words.metric(document, score), "decides" if score == document["metric"] else "score"
    place = {"x": number("kl", "KL (nats a sequence)"), "y": upward(y, words.with_unit(document, score))}
    one, pointer = {**place, "detail": [{"field": "seed"}]}, tip(*_RUN, ("kl", "KL"), (y, label))
    ends = reached.ends(document, y, height=FRONTIER)
    look = replace(look, legend=look.legend and not ends)
    spec = layered(
        {"mark": {"type": "line", "strokeWidth": 1.1, "strokeOpacity": 0.35},
         "encoding": {**one, "order": {"field": "step"}, **arm(arms, "strokeDash", look=look)}},
        {"mark": {"type": "point", "filled": True, "size": 26, "opacity": 1, "fillOpacity": 0.5},
         "encoding": {**one, "tooltip": pointer, **arm(arms, "shape", look=look)}},
        *reached.named(ends, place, y, arm(arms, "shape", look=look)),
        height=FRONTIER,
    )  # fmt: skip
    columns = [["arm", "arm"], ["seed", "seed"], ["step", "step"], ["kl", "KL"], [y, label]]
    what = "against the KL from the start policy, every evaluation of every run"
    return Chart(
        title=f"{words.capitalized(label)} against KL",
        alt=f"Frontier: {label} {what}, for {', '.join(arms)}.",
        spec={**spec, "data": data("frontier")},
        rows={"frontier": {}},
        numbers={"data": "frontier", "columns": columns},
    )


def both_scores(document: Document, name: str, look: Look) -> Chart:
    """The score that decides and the one that is optimized, of one arm over √KL, thin lines for seeds.

    Marked are the peak of the score that decides and the checkpoint to keep.
    """
    x, y = _scales(document["frontier"])
    decides, optimized = words.metric(document, document["metric"]), words.metric(document, SCORE)
    both = _both(decides, optimized)
    kinds = {"x": x, "y": y, **_kinds([decides, optimized], look)}
    pointer = tip(("kind", "score"), *_RUN[1:], ("kl", "KL"), ("value", "value"))
    only, bad = [{"filter": "datum.kind === 'keep'"}], look.colors["bad"]
    spec = layered(
        {"data": data("frontier"), "transform": both, "mark": {"type": "line", "strokeWidth": 1, "strokeOpacity": 0.35},
         "encoding": {**kinds, "detail": {"field": "seed"}, "order": {"field": "step"}}},
        {"data": data("frontier"), "transform": [*both, _MEAN], "mark": {"type": "line", "strokeWidth": 2.2},
         "encoding": {**kinds, "order": {"field": "step"}}},
        {"data": data("frontier"), "transform": both,
         "mark": {"type": "point", "size": 80, "opacity": 0, "filled": True},
         "encoding": {"x": x, "y": y, "tooltip": pointer}},
        {"data": data("peaks"), "transform": only, "mark": {"type": "rule", "strokeDash": [2, 2], "color": bad},
         "encoding": {"x": x}},
        {"data": data("peaks"), "mark": {"type": "point", "size": 70, "opacity": 1, "strokeWidth": 2, "color": bad},
         "encoding": {"x": x, "y": {**y, "field": "decides"}, "tooltip": tip(*_RUN[1:], ("decides", decides))}},
        {"data": data("peaks"), "transform": only,
         "mark": {"type": "text", "dy": {"expr": "13 * datum.line"}, "color": bad, **_beside(x)},
         "encoding": {"x": x, "y": {"value": 6}, "text": {"field": "label"}}},
        height=200,
    )  # fmt: skip
    columns = [["seed", "seed"], ["step", "step"], ["kl", "KL"], ["score", optimized], ["decides", decides]]
    return Chart(
        title=name,
        alt=(
            f"{words.capitalized(decides)} and {optimized} of {name} over the root of the KL. {_marked(document, name)}"
        ),
        spec=spec,
        rows={"frontier": {"arm": name}, "peaks": {"arm": name}},
        numbers={"data": "frontier", "columns": columns},
    )


def _both(decides: str, optimized: str) -> list[Spec]:
    """A row a score, under its name; names come from components, so they are quoted."""
    named = f"datum.kind === 'score' ? {json.dumps(optimized)} : {json.dumps(decides)}"
    return [{"fold": ["decides", "score"], "as": ["kind", "value"]}, {"calculate": named, "as": "kind"}]


_MEAN = {
    "aggregate": [{"op": "mean", "field": key, "as": key} for key in ("root_kl", "value")],
    "groupby": ["kind", "step"],
}


def _kinds(names: Sequence[str], look: Look) -> Spec:
    """The two scores told apart by dashes, in the colors of text: no arm has these."""
    ranges = {"color": [look.colors["ink"], look.colors["soft"]], "strokeDash": [[1, 0], [5, 3]]}
    kind = {"field": "kind", "type": "nominal"}
    legend = {} if look.legend else {"legend": None}
    return {
        channel: {**kind, "scale": {"domain": list(names), "range": ranges[channel]}, **legend} for channel in ranges
    }


def _beside(x: Mapping[str, Any]) -> dict[str, Any]:
    """A label stands on that side of its line where there is room."""
    far = f"datum.root_kl > {x['scale']['domain'][1] / 2!r}"
    return {"align": {"expr": f"{far} ? 'right' : 'left'"}, "dx": {"expr": f"{far} ? -4 : 4"}}


def _scales(rows: Sequence[Frontier]) -> tuple[Spec, Spec]:
    """Equal scales for the small charts of all arms."""
    scores = [score for row in rows for score in (row["score"], row["decides"]) if score is not None]
    reach = [max(0.0, row["kl"]) ** 0.5 for row in rows if row["kl"] is not None]
    x, y = number("root_kl", "√KL"), number("value", "score")
    x["scale"] |= {"domain": [0, max(reach, default=1.0)]}
    y["scale"] |= {"domain": [min(scores, default=0.0), max(scores, default=1.0)]}
    return x, y


def _marked(document: Document, name: str) -> str:
    rows = [row for row in document["overoptimization"] if row["arm"] == name and row["marked"] and row["words"]]
    return "; ".join(row["words"] for row in rows) or "No over-optimization is marked."
