"""What the terminal's tables are made of: numbers, intervals, p-values, tables without lines, lists of sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from align_lab.compare import gaps, values
from align_lab.compare.document import LeftOut
from align_lab.record.terminal import escape, one_line


class Bounds(TypedDict):
    """An interval, where there is one."""

    low: float | None
    high: float | None


def number(value: float | None, digits: int = 2) -> str:
    """With that many decimals; empty where there is none."""
    return "" if value is None else values.figure(value, digits)


def interval(item: Bounds, digits: int = 2) -> str:
    """`[0.10, 0.30]`; nothing where there is none."""
    return gaps.bounds(item["low"], item["high"], digits)


def probability(value: float | None) -> str:
    """A p-value, empty where there is none."""
    return "" if value is None else values.probability(value)


def plain_table(headings: Sequence[str], *, left: Sequence[int]) -> Table:
    """A table without lines; columns at these places hold text, which may be folded, the others numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(headings):
        text = place in left
        table.add_column(escape(name), justify="left" if text else "right", overflow="fold", no_wrap=not text)
    return table


def left_out(runs: Sequence[LeftOut]) -> Iterator[RenderableType]:
    """Runs that do not count, each with its reason."""
    for run in runs:
        yield Text(one_line(f"left out: {run['name']}: {run['why']}"), style="yellow")


def notes(sentences: Sequence[str]) -> Iterator[RenderableType]:
    """A line a sentence."""
    for note in sentences:
        yield Text(f"* {note}")
