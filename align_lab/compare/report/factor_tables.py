"""The tables of a study of factors: parts of the variance, effects of levels, means by the levels of two of them."""

from __future__ import annotations

from align_lab.compare.document import Factorial, Source
from align_lab.compare.report import words
from align_lab.compare.report.grid import Cell, Column, Grid, Tone, numeric, row


def factor_sources(factorial: Factorial) -> Grid:
    """Which choice matters, and how much of the variance it is."""
    return Grid(
        name="factor_sources",
        caption="Where the variance of the runs comes from, and whether a choice is shown to matter at all.",
        columns=(
            Column("source"),
            numeric("of the variance", "ω²: without what chance would give"),
            numeric("95 % interval", "from the noncentrality of F, for this share alone"),
            numeric("F", "cells may vary unequally: Brunner, Dette and Munk 1997"),
            numeric("degrees of freedom", "Box's: of the choice, and of the seeds within cells"),
            numeric("corrected p", "for all tests of this table"),
            Column("in words", wide=True),
        ),
        rows=tuple(
            row(
                one["source"],
                words.number(one["share"], 3),
                words.between(one["share_low"], one["share_high"], 3),
                words.number(one["f"], 2),
                _freedom(one),
                words.probability(one["p"]),
                Cell(one["words"], _tone(one)),
            )
            for one in factorial["sources"]
        ),
    )


def _freedom(one: Source) -> str:
    first, second = one["freedom"], one["freedom_within"]
    return words.NOTHING if first is None or second is None else f"{first:.1f} and {second:.1f}"


def _tone(one: Source) -> Tone:
    return "good" if one["words"] in ("matters", "act together") else ""


def factor_levels(factorial: Factorial) -> Grid:
    """The mean of every level, and its effect against the first level of its factor."""
    places = words.digits(one["mean"] for one in factorial["levels"])
    return Grid(
        name="factor_levels",
        caption="Every level over all cells that have it. Effect: against the first level of the choice.",
        columns=(
            Column("choice"),
            Column("level"),
            numeric("cells"),
            numeric("runs"),
            numeric("mean"),
            numeric("95 % interval", "of the mean, by itself"),
            numeric("effect"),
            numeric("corrected interval", "Welch's t for a contrast of cells, corrected for all effects"),
            numeric("corrected p"),
            Column("in words", wide=True),
        ),
        rows=tuple(
            row(
                one["factor"],
                one["level"],
                str(one["cells"]),
                str(one["runs"]),
                words.number(one["mean"], places),
                words.between(one["low"], one["high"], places),
                words.number(one["effect"], places),
                words.between(one["effect_low"], one["effect_high"], places),
                words.probability(one["p"]),
                Cell(one["words"], "good" if " > " in one["words"] else ""),
            )
            for one in factorial["levels"]
        ),
    )


def factor_combinations(factorial: Factorial) -> Grid:
    """The means of cells by the levels of two factors, of interactions that can be told."""
    places = words.digits(one["mean"] for one in factorial["combinations"])
    return Grid(
        name="factor_combinations",
        caption="Means by the levels of two choices.",
        columns=(
            Column("choice"),
            Column("level"),
            Column("other choice"),
            Column("its level"),
            numeric("runs"),
            numeric("mean"),
            numeric("95 % interval", "of the mean, by itself"),
        ),
        rows=tuple(
            row(
                one["factor"],
                one["level"],
                one["other"],
                one["other_level"],
                str(one["runs"]),
                words.number(one["mean"], places),
                words.between(one["low"], one["high"], places),
            )
            for one in factorial["combinations"]
        ),
    )


GRIDS = (factor_sources, factor_levels, factor_combinations)
