"""A table without lines that leaves columns out where the terminal is too narrow, instead of cutting numbers off."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

GAP = 2  # blanks between columns
FOLDED = 12  # a column whose cells may be folded gets at least so many letters, where it has them


@dataclass
class FittedTable:
    """Cells are markup. Columns by their places: `left` hold text, `folds` may take several lines, those of `whole`
    between words alone, and the first of `dispensable` is left out first where there is no room for all.
    """

    headings: Sequence[str]
    left: Collection[int] = ()
    folds: Collection[int] = ()
    whole: Collection[int] = ()
    dispensable: Sequence[int] = ()
    legend: Mapping[int, str] = field(default_factory=dict[int, str])
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def add_row(self, *cells: str) -> None:
        """A row with a cell for every heading."""
        self.rows.append(cells)

    def shown(self, width: int) -> list[int]:
        """The columns that are shown at this width."""
        kept = list(range(len(self.headings)))
        for place in self.dispensable:
            if sum(map(self._needs, kept)) + GAP * (len(kept) - 1) <= width:
                break
            kept.remove(place)
        return kept

    def _needs(self, place: int) -> int:
        """The letters that a column cannot do without."""
        cells = [Text.from_markup(cell) for cell in (self.headings[place], *(row[place] for row in self.rows))]
        widest = max(cell.cell_len for cell in cells)
        if place not in self.folds:
            return widest
        words = [word for cell in cells for word in cell.plain.split()] if place in self.whole else []
        return max(min(widest, FOLDED), *(cell_len(word) for word in words), 0)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, pad_edge=False, header_style="bold")
        kept = self.shown(options.max_width)
        for place in kept:
            side, folds = "left" if place in self.left else "right", place in self.folds
            least = self._needs(place) if place in self.whole else None
            table.add_column(self.headings[place], justify=side, no_wrap=not folds, overflow="fold", min_width=least)
        for row in self.rows:
            table.add_row(*(row[place] for place in kept))
        yield table
        yield from (Text(line, style="dim") for place, line in self.legend.items() if place in kept)
