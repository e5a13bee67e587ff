"""Every chart of a document by name: pure functions from the document to Vega-Lite specs, for the page and for figures.

Names are paths: `scores/<metric>`, `curves/<metric>/<axis>`, `frontier/<score>`, `proxy/<place of the arm>`, `ranking`, `wins`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from align_lab.compare.report import words
from align_lab.compare.report.csv_tables import Row, tables
from align_lab.compare.report.curve_charts import frontier, learning_curve, proxy_against_gold
from align_lab.compare.report.marks import Chart
from align_lab.compare.report.palette import Look
from align_lab.compare.report.score_charts import final_scores, ranking, win_rates

DRAWN = ("arms", "seeds", "bands", "evaluations", "ranking", "frontier", "peaks", "wins")
MOST_ROWS = 4_000  # of one data set with seeds; beyond it only the first seeds of every arm are drawn
HEALTH = ("eval/length", "eval/entropy", "eval/distinct_2")


def charts(document: Mapping[str, Any], look: Look) -> dict[str, Chart]:
    """All charts that this document has numbers for."""
    found = {f"scores/{metric}": final_scores(document, metric, look) for metric in final_metrics(document)}
    for metric, axis in curve_choices(document):
        found[f"curves/{metric}/{axis}"] = learning_curve(document, metric, axis, look)
    if document["frontier"]:
        for score in ("eval/gold_score", "eval/score"):
            found[f"frontier/{score}"] = frontier(document, score, look)
        for place, row in enumerate(document["arms"]):
            found[f"proxy/{place}"] = proxy_against_gold(document, row["name"], look)
    if document["axes"]:
        found["ranking"] = ranking(document, look)
    if len(document["wins"]["arms"]) > 1:
        found["wins"] = win_rates(document, look)
    return found


def final_metrics(document: Mapping[str, Any]) -> list[str]:
    """Metrics of the final evaluation, the one that decides first."""
    names = {name: None for arm in document["arms"] for name in arm["metrics"]}
    return sorted(names, key=lambda name: name != document["metric"])


def curve_choices(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(metric, axis) pairs that have bands, the metric that decides and episodes first."""
    pairs = {(row["metric"], row["axis"]): None for row in document["bands"]}
    metrics = sorted({metric: None for metric, _ in pairs}, key=lambda name: name != document["metric"])
    return [(metric, axis) for metric in metrics for axis in words.AXES if (metric, axis) in pairs and axis != metric]


def datasets(document: Mapping[str, Any]) -> dict[str, list[Row]]:
    """The tables that charts draw, of bounded size."""
    whole = tables(document)
    return {name: _few_seeds(whole[name]) for name in DRAWN}


def seeds_left_out(document: Mapping[str, Any]) -> str:
    """What a reader must know where charts do not draw every seed; empty where they do."""
    runs = {(row["arm"], row["seed"]) for row in document["frontier"]}
    drawn = {(row["arm"], row["seed"]) for row in _few_seeds(document["frontier"])}
    if runs == drawn:
        return ""
    return f"Charts draw {len(drawn):,} of {len(runs):,} runs as single lines, the first seeds of each arm; means and bands count them all."


def _few_seeds(rows: Sequence[Row]) -> list[Row]:
    """All rows where they are few, else those of the first seeds of every arm."""
    if len(rows) <= MOST_ROWS or "seed" not in rows[0]:
        return list(rows)
    seeds = sorted({row["seed"] for row in rows})
    kept = set(seeds[: max(1, len(seeds) * MOST_ROWS // len(rows))])
    return [row for row in rows if row["seed"] in kept]


def chosen(rows: Sequence[Row], conditions: Mapping[str, Any]) -> list[Row]:
    """Rows whose values equal those conditions, as the page chooses them in the browser."""
    return [row for row in rows if all(row[key] == value for key, value in conditions.items())]
