"""A table for readers: what the page, and the Markdown beside it, lay out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

WIDE = 1  # columns above which a narrow screen shows each row as a card
MOST_LINES = 500  # of a table that anybody reads
EMPTY = ("", "–", "– → –")  # cells without a value
Tone = Literal["", "good", "bad", "warn", "soft"]


@dataclass(frozen=True)
class Cell:
    """Text, and how to take it. href: a path relative to the page; shade: from -1 to 1, how strongly it is colored."""

    text: str
    tone: Tone = ""
    href: str = ""
    shade: float = 0.0


@dataclass(frozen=True)
class Column:
    """wide: holds sentences; arms: shown only while these arms are."""

    heading: str
    numeric: bool = False
    wide: bool = False
    hint: str = ""
    arms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """The first cell is the row's heading."""

    cells: tuple[Cell, ...]
    arms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """A table under its name."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def stacks(self) -> bool:
        """Are there more columns than a narrow screen has room for?"""
        return len(self.columns) > WIDE


def numeric(heading: str, hint: str = "") -> Column:
    """A column of numbers."""
    return Column(heading, numeric=True, hint=hint)


def row(*cells: str | Cell, arms: Sequence[str] = ()) -> Row:
    """A row of cells, some with more to them than text."""
    return Row(tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells), tuple(arms))


def by_arm(arms: Sequence[str], values: Mapping[str, str], heading: str) -> Row:
    """A field's value, an arm a column."""
    return row(heading, *(values.get(arm, "–") for arm in arms))


def shortened(grid: Grid) -> Grid:
    """The first lines of a table that is too long to read, and a word about it."""
    if len(grid.rows) <= MOST_LINES:
        return grid
    cut = f" The first {MOST_LINES} of {len(grid.rows):,} lines; all are in the CSV files."
    return replace(grid, rows=grid.rows[:MOST_LINES], caption=grid.caption + cut)


def full(grid: Grid) -> Grid:
    """Without the columns that say nothing in any row; the first one names the row and stays."""
    if not grid.rows:
        return grid
    kept = [i for i in range(len(grid.columns)) if not i or any(row.cells[i].text not in EMPTY for row in grid.rows)]
    rows = tuple(replace(row, cells=tuple(row.cells[i] for i in kept)) for row in grid.rows)
    return replace(grid, columns=tuple(grid.columns[i] for i in kept), rows=rows)
