"""The tables of other programs' runs, which nothing proves comparable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from align_lab.compare.report import words
from align_lab.compare.report.grid import Cell, Column, Grid, Row, numeric, row

Document = Mapping[str, Any]


def foreign_arms(document: Document) -> Grid:
    """Every arm under the score that all runs have, ours marked as proven among themselves."""
    found = document["foreign"] or {}
    arms = found.get("arms", [])
    places = words.digits(value for arm in arms for value in arm["values"])
    columns = (
        Column("arm"), Column("proven"), numeric("n", "seeds"), Column("by seed", wide=True), numeric("mean"),
        numeric("95 % t interval"), numeric("sd", "standard deviation over seeds"), numeric("start"),
        numeric("KL", "as its program counts it"), numeric("length", "as its program counts it"),
    )  # fmt: skip
    caption = f"{found['metric']} at the end, in the unit that each program logs. Best arm first." if found else ""
    return Grid("foreign-arms", caption, columns, tuple(_arm(arm, places) for arm in arms))


def _arm(arm: Mapping[str, Any], places: int) -> Row:
    proven = Cell("among its own") if arm["proven"] else Cell("not proven", tone="warn")
    seeds = " ".join(words.number(value, places) for value in arm["values"])
    beside = (words.number(arm["beside"][key], 2) for key in ("objective/kl", "completions/mean_length"))
    return row(
        arm["name"], proven, words.count(arm["n"]), seeds, words.number(arm["mean"], places),
        words.interval(arm, places), words.number(arm["sd"], places), words.number(arm["start"], places), *beside,
    )  # fmt: skip


def foreign_pairs(document: Document) -> Grid:
    found = document["foreign"] or {}
    pairs = found.get("pairs", [])
    places = words.digits(pair["gap"] for pair in pairs)
    columns = (
        Column("pair"),
        numeric("by"),
        numeric("corrected interval"),
        numeric("corrected p"),
        Column("verdict", wide=True),
    )
    rows = tuple(
        row(f"{pair['a']} against {pair['b']}", words.number(pair["gap"], places), words.interval(pair, places),
            words.probability(pair["p"]), pair["words"])
        for pair in pairs
    )  # fmt: skip
    return Grid("foreign-pairs", f"Every pair: {found.get('method', '')}.", columns, rows)


def foreign_columns(document: Document) -> Grid:
    """Which column was taken for what."""
    found = (document["foreign"] or {}).get("columns", [])
    columns = (Column("program"), Column("metric here"), Column("column there"))
    rows = tuple(row(one["source"], one["metric"], one["column"]) for one in found)
    return Grid("foreign-columns", "Which of their columns were taken for what.", columns, rows)


def foreign_left_out(document: Document) -> Grid:
    found = (document["foreign"] or {}).get("left_out", [])
    rows = tuple(row(run["name"], run["why"]) for run in found)
    return Grid("foreign-left-out", "Left out.", (Column("run"), Column("why", wide=True)), rows)
