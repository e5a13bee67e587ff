"""The tables of the set-up: the proof of comparability, recipes, budgets, what was charged, runs, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from align_lab.compare.document import ByArm, Charged, Document
from align_lab.compare.report import words
from align_lab.compare.report.grid import Cell, Column, Grid, numeric, row


def equal(document: Document) -> Grid:
    """The proof: every setting and hash that all runs share."""
    return Grid(
        name="equal",
        caption="Settings and hashes that are equal in every run.",
        columns=(Column("setting"), Column("value in every run", wide=True)),
        rows=tuple(row(each["field"], words.plain(each["value"])) for each in document["comparability"]["equal"]),
    )


def differing(document: Document) -> Grid:
    """Settings that differ though they must not, with the runs that have each value."""
    return Grid(
        name="differing",
        caption="Settings that differ.",
        columns=(Column("setting"), Column("value", wide=True), Column("runs", wide=True), Column("allowed")),
        rows=tuple(
            row(
                Cell(each["field"], "bad"),
                Cell(words.plain(value), "bad"),
                ", ".join(runs),
                Cell("by --allow", "warn") if each["allowed"] else Cell("no", "bad"),
            )
            for each in document["comparability"]["differing"]
            for value, runs in each["values"].items()
        ),
    )


def recipes(document: Document) -> Grid:
    """What differs by design."""
    caption = "What differs between the arms by design: each algorithm has its own recipe."
    return _by_arm(document, "recipes", caption, document["comparability"]["recipes"])


def budgets(document: Document) -> Grid:
    """How long each arm was to train."""
    return _by_arm(document, "budgets", "Budgets as configured.", document["comparability"]["budgets"])


def _by_arm(document: Document, name: str, caption: str, fields: Sequence[ByArm]) -> Grid:
    """A field a row, an arm a column; of more arms than fields the other way round."""
    arms = [arm["name"] for arm in document["arms"]]
    if len(arms) > max(FEW_ARMS, len(fields)):
        return Grid(
            name=name,
            caption=caption,
            columns=(Column("arm"), *(Column(each["field"], numeric=True) for each in fields)),
            rows=tuple(
                row(arm, *(_value(each["values"].get(arm)) for each in fields), arms=[arm]) for arm in arms if fields
            ),
        )
    return Grid(
        name=name,
        caption=caption,
        columns=(Column("field"), *(Column(arm, numeric=True, arms=(arm,)) for arm in arms)),
        rows=tuple(row(each["field"], *(_value(each["values"].get(arm)) for arm in arms)) for each in fields),
    )


FEW_ARMS = 6  # that have room beside each other


def _value(value: Any) -> Cell:
    return Cell(words.plain(value), "soft" if value in (None, "not applicable") else "")


CHARGED = ("episodes", "generated tokens", "labels", "device-seconds", "FLOPs", "peak memory (GiB)")


def charged(document: Document) -> Grid:
    """What a run of each arm cost."""
    return Grid(
        name="charged",
        caption="Charged to each arm, mean per run.",
        columns=(Column("arm"), *(numeric(heading) for heading in CHARGED)),
        rows=tuple(
            row(each["arm"], *map(words.quantity, _spent(each)), arms=[each["arm"]])
            for each in document["comparability"]["charged"]
        ),
    )


def _spent(each: Charged) -> tuple[float | None, ...]:
    cost = (each["episodes"], each["tokens"], each["labels"])
    return (*cost, each["device_seconds"], each["flops"], each["peak_memory_gib"])


def runs(document: Document) -> Grid:
    """Every finished run with a link to its folder."""
    decides = document["metric"]
    rows = [
        (arm["name"], seed, name, value)
        for arm in document["arms"]
        for seed, name, value in zip(arm["seeds"], arm["runs"], arm["metrics"][decides]["values"], strict=True)
    ]
    return Grid(
        name="runs",
        caption="Finished runs; where a run's folder is at hand, its name leads there.",
        columns=(Column("run"), Column("arm"), numeric("seed"), numeric(words.metric(document, decides))),
        rows=tuple(
            row(
                Cell(name, href=words.href(document["links"], name)), arm, str(seed), words.number(value, 3), arms=[arm]
            )
            for arm, seed, name, value in rows
        ),
    )


def unfinished(document: Document) -> Grid:
    """Runs that did not finish, and seeds that nobody has run: never dropped in silence."""
    broken = [
        row(Cell(each["name"], href=words.href(document["links"], each["name"])),
            words.plain(each["arm"]), words.plain(each["seed"]),
            Cell(each["state"], "bad" if each["state"] in ("failed", "diverged") else "warn"), each["why"])
        for each in document["unfinished"]
    ]  # fmt: skip
    lacking = [
        row(
            words.NOTHING,
            each["arm"],
            ", ".join(map(str, each["seeds"])),
            Cell("missing", "warn"),
            "other arms have these seeds",
        )
        for each in document["missing"]
    ]
    return Grid(
        name="unfinished",
        caption="Left out of every number above.",
        columns=(Column("run"), Column("arm"), numeric("seed"), Column("state"), Column("why", wide=True)),
        rows=tuple(broken + lacking),
    )
