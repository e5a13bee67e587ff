"""Every chart of a document by name: pure functions from the document to Vega-Lite specs, for the page and for figures.

Names are paths: `scores/<metric>`, `curves/<metric>/<axis>`, `frontier/<score>`, `beyond/<place of the arm>`,
`ranking`, `wins`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from align_lab.compare.document import SCORE, Document
from align_lab.compare.report import words
from align_lab.compare.report.csv_tables import Row, tables
from align_lab.compare.report.curve_charts import both_scores, frontier, learning_curve
from align_lab.compare.report.marks import Chart
from align_lab.compare.report.palette import Look
from align_lab.compare.report.score_charts import final_scores, ranking, win_rates

FOR_PAPERS = ("wins",)  # the page has a table in its place
DRAWN = ("arms", "seeds", "bands", "evaluations", "ranking", "frontier", "peaks", "wins")
FEWEST_BANDS = 5  # seeds of each arm: of fewer, every t interval covers half a chart
MOST_ROWS = 4_000  # of one data set with seeds; beyond it only the first seeds of every arm are drawn
HEALTH = ("eval/length", "eval/entropy", "eval/distinct_2")


def charts(document: Document, look: Look) -> dict[str, Chart]:
    """All charts that this document has numbers for."""
    others = [metric for metric in final_metrics(document) if metric != document["metric"]]  # that one is the answer
    drawn = {f"scores/{metric}": final_scores(document, metric, look) for metric in others}
    for metric, axis in curve_choices(document):
        drawn[f"curves/{metric}/{axis}"] = learning_curve(document, metric, axis, look)
    for score in frontier_scores(document):
        drawn[f"frontier/{score}"] = frontier(document, score, look)
    if len(frontier_scores(document)) > 1:
        for place, row in enumerate(document["arms"]):
            drawn[f"beyond/{place}"] = both_scores(document, row["name"], look)
    if document["axes"]:
        drawn["ranking"] = ranking(document, look)
    if len(document["wins"]["arms"]) > 1:
        drawn["wins"] = win_rates(document, look)
    return drawn


def final_metrics(document: Document) -> list[str]:
    """Metrics of the final evaluation that some arm has, the one that decides first."""
    every = (item for arm in document["arms"] for item in arm["metrics"].items())
    names = {name: None for name, values in every if values["mean"] is not None}
    return sorted(names, key=lambda name: name != document["metric"])


def frontier_scores(document: Document) -> list[str]:
    """The metric that decides and the one that is optimized, which may be one; none where no evaluation is known."""
    return list(dict.fromkeys((document["metric"], SCORE))) if document["frontier"] else []


def curve_choices(document: Document) -> list[tuple[str, str]]:
    """(metric, axis) pairs that have bands, the metric that decides and episodes first."""
    pairs = {(row["metric"], row["axis"]): None for row in document["bands"]}
    metrics = sorted({metric: None for metric, _ in pairs}, key=lambda name: name != document["metric"])
    return [(metric, axis) for metric in metrics for axis in words.AXES if (metric, axis) in pairs and axis != metric]


def datasets(document: Document) -> dict[str, list[Row]]:
    """The tables that charts draw, of bounded size."""
    whole = tables(document)
    return {name: _few_seeds(whole[name]) for name in DRAWN}


def bands_shown(document: Document) -> bool:
    """Are there seeds enough that the bands of several arms can be told apart?"""
    return min((arm["n"] for arm in document["arms"]), default=0) >= FEWEST_BANDS


def seeds_left_out(document: Document) -> str:
    """What a reader must know where charts do not draw every seed; empty where they do."""
    runs = {(row["arm"], row["seed"]) for row in document["frontier"]}
    drawn = {(row["arm"], row["seed"]) for row in _few_seeds(document["frontier"])}
    if runs == drawn:
        return ""
    few = f"Charts draw {len(drawn):,} of {len(runs):,} runs as single lines, the first seeds of each arm"
    return f"{few}; means and bands count them all."


def _few_seeds(rows: Sequence[Row]) -> list[Row]:
    """All rows where they are few, else those of the first seeds of every arm."""
    if len(rows) <= MOST_ROWS or "seed" not in rows[0]:
        return list(rows)
    seeds = sorted({row["seed"] for row in rows})
    first = set(seeds[: max(1, len(seeds) * MOST_ROWS // len(rows))])
    return [row for row in rows if row["seed"] in first]


def chosen(rows: Sequence[Row], conditions: Mapping[str, Any]) -> list[Row]:
    """Rows whose values equal those conditions, as the page chooses them in the browser."""
    return [row for row in rows if all(row[key] == value for key, value in conditions.items())]
