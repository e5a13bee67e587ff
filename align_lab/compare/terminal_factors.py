"""What the factors of a study do, on the terminal: parts of the variance, effects of levels, and what the cells mix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from align_lab.compare import gaps
from align_lab.compare.document import Factorial, Level, Source
from align_lab.compare.terminal_cells import Bounds, interval, number, probability
from align_lab.compare.verdict import NOT_ENOUGH
from align_lab.record.fitted_table import FittedTable
from align_lab.record.terminal import escape


def factors(factorial: Factorial | None) -> Iterator[RenderableType]:
    """Which choice matters, then what each of its levels does."""
    if factorial is None:
        return
    yield _sources(factorial["sources"])
    yield Text()
    yield _levels(factorial["levels"])
    yield Text(f"{factorial['method']}. Effects are against the first level of each choice.", style="dim")
    yield Text(f"{factorial['design'][0].upper()}{factorial['design'][1:]}. {' '.join(factorial['aliases'])}")
    yield Text()


def _sources(sources: Sequence[Source]) -> FittedTable:
    headings = ("source of variance", "share", "interval", "F", "p", "verdict")
    table = FittedTable(headings=headings, left=(0, 5), folds=(0, 5), dispensable=(3, 2))
    for one in sources:
        bounds = Bounds(low=one["share_low"], high=one["share_high"])
        cells = (number(one["share"]), interval(bounds), number(one["f"], 1), probability(one["p"]), one["words"])
        table.add_row(escape(one["source"]), *cells)
    return table


def _few(words: str) -> str:
    """Without how many seeds more would be needed, which the page says."""
    return NOT_ENOUGH.rstrip(": ") if words.startswith(NOT_ENOUGH) else words


def _levels(levels: Sequence[Level]) -> FittedTable:
    headings = ("choice", "level", "runs", "mean", "interval", "effect", "interval", "p", "verdict")
    table = FittedTable(headings=headings, left=(0, 1, 8), folds=(8,), whole=(8,), dispensable=(2, 4, 7))
    halves = [gaps.half(one["effect_low"], one["effect_high"]) for one in levels]
    digits = gaps.places(halves, [one["mean"] for one in levels])
    before = ""
    for one in levels:
        mean, effect = Bounds(low=one["low"], high=one["high"]), Bounds(low=one["effect_low"], high=one["effect_high"])
        table.add_row(
            escape(one["factor"]) if one["factor"] != before else "",
            escape(one["level"]),
            str(one["runs"]),
            number(one["mean"], digits),
            interval(mean, digits),
            number(one["effect"], digits),
            interval(effect, digits),
            probability(one["p"]),
            escape(_few(one["words"])),
        )
        before = one["factor"]
    return table
