"""The tables of other programs' runs, which nothing proves comparable."""

from __future__ import annotations

from align_lab.compare.document import Foreign, ForeignArm, ForeignField, ForeignSettings
from align_lab.compare.report import words
from align_lab.compare.report.grid import Cell, Column, Grid, Row, Tone, numeric, row
from align_lab.compare.values import listed

TONES: dict[str, Tone] = {"equal": "good", "differs": "bad", "not known": "warn"}


def foreign_arms(foreign: Foreign) -> Grid:
    """Every arm under the score that all runs have, ours marked as proven among themselves."""
    places = words.digits(value for arm in foreign["arms"] for value in arm["values"])
    columns = (
        Column("arm"), Column("proven"), numeric("n", "seeds"), Column("by seed", wide=True), numeric("mean"),
        numeric("95 % t interval"), numeric("sd", "standard deviation over seeds"), numeric("start"),
        numeric("KL", "as its program counts it"), numeric("length", "as its program counts it"),
    )  # fmt: skip
    caption = f"{foreign['metric']} at the end, in the unit that each program logs. Best arm first."
    return Grid("foreign-arms", caption, columns, tuple(_arm(arm, places) for arm in foreign["arms"]))


def _arm(arm: ForeignArm, places: int) -> Row:
    proven = Cell("among its own") if arm["proven"] else Cell("not proven", tone="warn")
    seeds = " ".join(words.number(value, places) for value in arm["values"])
    beside = (words.number(arm["beside"][key], 2) for key in ("objective/kl", "completions/mean_length"))
    return row(
        arm["name"], proven, words.count(arm["n"]), seeds, words.number(arm["mean"], places),
        words.between(arm["low"], arm["high"], places), words.number(arm["sd"], places),
        words.number(arm["start"], places), *beside,
    )  # fmt: skip


def foreign_pairs(foreign: Foreign) -> Grid:
    """The gap of each pair, with what follows in words."""
    places = words.digits(pair["gap"] for pair in foreign["pairs"])
    columns = (
        Column("pair"),
        numeric("by"),
        numeric("corrected interval"),
        numeric("corrected p"),
        Column("verdict", wide=True),
    )
    rows = tuple(
        row(f"{pair['a']} against {pair['b']}", words.number(pair["gap"], places),
            words.between(pair["low"], pair["high"], places), words.probability(pair["p"]), pair["words"])
        for pair in foreign["pairs"]
    )  # fmt: skip
    return Grid("foreign-pairs", f"Every pair: {foreign['method']}.", columns, rows)


def foreign_columns(foreign: Foreign) -> Grid:
    """Which column was taken for what."""
    columns = (Column("program"), Column("metric here"), Column("column there"))
    rows = tuple(row(one["source"], one["metric"], one["column"]) for one in foreign["columns"])
    return Grid("foreign-columns", "Which of their columns were taken for what.", columns, rows)


def foreign_left_out(foreign: Foreign) -> Grid:
    """Runs that do not count, with the reason."""
    rows = tuple(row(run["name"], run["why"]) for run in foreign["left_out"])
    return Grid("foreign-left-out", "Left out.", (Column("run"), Column("why", wide=True)), rows)


def foreign_settings(foreign: Foreign) -> list[Grid]:
    """A table an arm whose config was read: what differs, what is not known, what is equal."""
    return [_settings(place, one) for place, one in enumerate(foreign["settings"])]


def _settings(place: int, settings: ForeignSettings) -> Grid:
    columns = (
        Column("field"), Column("role"), Column(""), Column(settings["against"], wide=True),
        Column(settings["arm"], wide=True), Column("source", wide=True),
    )  # fmt: skip
    caption = f"{settings['arm']}: {settings['version']}, read from {listed(settings['files'], most=6)}."
    return Grid(f"foreign-settings-{place}", caption, columns, tuple(map(_setting, settings["fields"])))


def _setting(one: ForeignField) -> Row:
    state = Cell(one["state"], tone=TONES[one["state"]])
    return row(one["field"], one["role"], state, one["ours"], one["theirs"], one["source"])


def foreign_unmapped(foreign: Foreign) -> Grid:
    """Names of their configs that no table knows."""
    rows = tuple(row(one["arm"], ", ".join(one["unmapped"])) for one in foreign["settings"] if one["unmapped"])
    caption = "Names of their configs that have no field of ours: nothing is guessed of them."
    return Grid("foreign-unmapped", caption, (Column("arm"), Column("names", wide=True)), rows)
