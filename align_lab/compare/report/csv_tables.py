"""The document as flat tables, one row a fact: what the CSV files hold and the charts draw."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from align_lab.base.files import write_text
from align_lab.compare.document import (
    Arm,
    Axis,
    ByArm,
    Document,
    Factorial,
    Foreign,
    ForeignField,
    ForeignSettings,
    Point,
    TuningDocument,
    Wins,
)
from align_lab.compare.report import words

Row = Mapping[str, Any]
Tables = dict[str, Sequence[Row]]
ONLY_FOR_CHARTS = {"evaluations", "peaks"}
FORMULA = ("=", "+", "-", "@", "\t")  # a spreadsheet would compute a text that begins so


def tables(document: Document) -> Tables:
    """Every table by name."""
    foreign = document["foreign"]
    return {**_results(document), **_training(document), **_setup(document), **(_foreign(foreign) if foreign else {})}


def _foreign(foreign: Foreign) -> Tables:
    """Runs of other programs."""
    metric = foreign["metric"]
    runs = [
        {"arm": arm["name"], "source": arm["source"], "proven": arm["proven"], "seed": seed, "run": run, metric: value}
        for arm in foreign["arms"]
        for seed, run, value in zip(arm["seeds"], arm["runs"], arm["values"], strict=True)
    ]
    return {
        "foreign": runs,
        "foreign_settings": [_of_arm(one, field) for one in foreign["settings"] for field in one["fields"]],
        "foreign_pairs": foreign["pairs"],
        "foreign_curves": foreign["curves"],
        "foreign_columns": foreign["columns"],
        "foreign_left_out": foreign["left_out"],
    }


def _of_arm(settings: ForeignSettings, field: ForeignField) -> dict[str, Any]:
    return {"arm": settings["arm"], "against": settings["against"], **field}


def _results(document: Document) -> Tables:
    return {
        "arms": [row for arm in document["arms"] for row in _summaries(arm)],
        "seeds": [row for arm in document["arms"] for row in _finals(arm)],
        "pairs": document["verdict"]["pairs"],
        "claims": document["claims"],
        **_factors(document["factors"]),
        **_tuning(document["tuning"]),
        "improvement": document["improvement"],
        "ranking": [row for axis in document["axes"] for row in _ranking(axis)],
        "flips": [{"axis": axis["axis"], **flip} for axis in document["axes"] for flip in axis["flips"]],
        "wins": _wins(document["wins"]),
    }


def _factors(factorial: Factorial | None) -> Tables:
    """A row a part of the variance, a row a level, a row a pair of levels of two factors."""
    if factorial is None:
        return {}
    return {f"factor_{name}": factorial[name] for name in ("sources", "levels", "combinations")}


def _tuning(tuned: TuningDocument | None) -> Tables:
    """A row an arm, a row a number of trials, a row a field."""
    arms = tuned["arms"] if tuned else []
    lists = ("expected", "sensitivity")
    return {
        "tuning": [{name: value for name, value in one.items() if name not in lists} for one in arms],
        "tuning_flips": [
            {**one, **{side: ", ".join(map(str, one[side])) for side in ("a_ahead", "b_ahead")}}
            for one in (tuned["flips"] if tuned else [])
        ],
        **{f"tuning_{name}": [{"arm": one["arm"], **row} for one in arms for row in one[name]] for name in lists},
    }


def _training(document: Document) -> Tables:
    return {
        "curves": document["curves"],
        "evaluations": _evaluations(document["curves"]),
        "bands": document["bands"],
        "frontier": [{**row, "root_kl": _root(row["kl"])} for row in document["frontier"]],
        "overoptimization": document["overoptimization"],
        "peaks": list(_peaks(document)),
        "health": document["health"],
        "audit": document["audit"],
        "evaluated_again": document["evaluations"],
        "samples": [
            {"index": sample["index"], "prompt": sample["prompt"], **completion}
            for sample in document["samples"]
            for completion in sample["completions"]
        ],
    }


def _setup(document: Document) -> Tables:
    comparability = document["comparability"]
    return {
        "unfinished": document["unfinished"],
        "missing": [{"arm": row["arm"], "seed": seed} for row in document["missing"] for seed in row["seeds"]],
        "charged": comparability["charged"],
        "recipes": _by_arm(comparability["recipes"]),
        "budgets": _by_arm(comparability["budgets"]),
        "equal": comparability["equal"],
        "differing": [
            {"field": row["field"], "value": value, "run": run, "allowed": row["allowed"]}
            for row in comparability["differing"]
            for value, runs in row["values"].items()
            for run in runs
        ],
    }


def write_csv(document: Document, folder: Path) -> list[Path]:
    """One CSV file a table that has rows."""
    written = []
    for name, rows in tables(document).items():
        if rows and name not in ONLY_FOR_CHARTS:
            write_text(folder / f"{name}.csv", as_csv(rows))
            written.append(folder / f"{name}.csv")
    return written


def as_csv(rows: Sequence[Row]) -> str:
    """CSV text with a header; nothing for None. A text that a spreadsheet would compute gets an apostrophe in front."""
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({key: _harmless(value) for key, value in row.items()} for row in rows)
    return file.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _summaries(arm: Arm) -> Iterable[Row]:
    for metric, summary in arm["metrics"].items():
        numbers = {key: value for key, value in summary.items() if key != "values"}
        yield {"arm": arm["name"], "algo": arm["algo"], "n": arm["n"], "metric": metric, **numbers}


def _finals(arm: Arm) -> Iterable[Row]:
    for metric, summary in arm["metrics"].items():
        for seed, run, value in zip(arm["seeds"], arm["runs"], summary["values"], strict=True):
            yield {"arm": arm["name"], "metric": metric, "seed": seed, "run": run, "value": value}


def _evaluations(curves: Iterable[Point]) -> list[Row]:
    """One row an evaluation with a column a metric, where the curves have a row for each of them."""
    rows: dict[tuple[str, int | None], dict[str, Any]] = {}
    for point in curves:
        place = {key: value for key, value in point.items() if key not in ("metric", "value")}
        rows.setdefault((point["run"], point["step"]), place)[point["metric"]] = point["value"]
    return list(rows.values())


def _ranking(axis: Axis) -> Iterable[Row]:
    ahead = words.overtaking(axis)
    for rank, row in enumerate(axis["ranking"], 1):
        at = {"axis": axis["axis"], "equal": words.axis(axis["axis"]), "at": axis["at"], "unit": axis["unit"]}
        yield {**at, "rank": rank, **row, "overtakes": row["arm"] in ahead}


def _peaks(document: Document) -> Iterable[Row]:
    """Where a run's deciding score peaks and which checkpoint to keep, as points of the frontier."""
    points = {(row["arm"], row["seed"], row["step"]): row for row in document["frontier"]}
    lines: Counter[str] = Counter()  # so that labels of several seeds stand below each other
    for row in document["overoptimization"]:
        for kind, step in (("peak", row["peak_step"]), ("keep", row["keep"])):
            point = points.get((row["arm"], row["seed"], step))
            if point and (kind == "keep" or row["marked"]):
                mark = {"kind": kind, "line": lines[row["arm"]], "label": f"seed {row['seed']}: keep step {step}"}
                yield {**point, "root_kl": _root(point["kl"]), **mark}
                lines[row["arm"]] += kind == "keep"


def _root(kl: float | None) -> float | None:
    """√KL; an estimate of the KL may be a little below zero."""
    return None if kl is None else math.sqrt(max(0.0, kl))


def _wins(wins: Wins) -> list[Row]:
    return [
        {"a": a, "b": b, **cell}
        for a, cells in zip(wins["arms"], wins["matrix"], strict=True)
        for b, cell in zip(wins["arms"], cells, strict=True)
        if cell
    ]


def _by_arm(rows: Iterable[ByArm]) -> list[Row]:
    return [{"field": row["field"], "arm": arm, "value": value} for row in rows for arm, value in row["values"].items()]
