"""The page's picture of the pairs (a forest plot) in letters, for places that show text alone, such as W&B's panels."""

from __future__ import annotations

from align_lab.compare.document import Document
from align_lab.compare.report import answer
from align_lab.compare.report.answer import Gap, Pairs
from align_lab.compare.report.scale import Scale

LANE = 41  # letters between names and numbers
FILLED, OPEN = "●", "○"
ZERO, ZONE = "│", "░"


def pairs(document: Document) -> str:
    """A row each: names, the gap with its interval over ± the gap that matters, and both in numbers and words.

    Empty where there is no pair.
    """
    figure = answer.pairs(document)
    if figure is None:
        return ""
    names = [f"{gap.a} − {gap.b}" for gap in figure.gaps]
    wide = max(map(len, names))
    numbers = max(len(gap.text) for gap in figure.gaps)
    rows = [
        f"{name:<{wide}}  {_lane(gap, figure)}  {gap.text:<{numbers}}  {gap.words}"
        for name, gap in zip(names, figure.gaps, strict=True)
    ]
    below = [_axis(figure.scale), f"gap in {figure.label}: first − second"]
    return "\n".join([*rows, *(f"{'':<{wide}}  {line}".rstrip() for line in below), "", _how_to_read(figure)])


def _lane(gap: Gap, figure: Pairs) -> str:
    """The later a part is drawn, the higher it lies: zone, zero, interval, gap."""
    cells = [" "] * LANE
    _draw(cells, figure.zone, ZONE * LANE)
    cells[_cell(figure.zero)] = ZERO
    if gap.interval:
        first, last = map(_cell, gap.interval)
        _draw(cells, gap.interval, f"├{'─' * (last - first - 1)}┤")
    cells[_cell(gap.mean)] = FILLED if gap.outcome in ("better", "slight") else OPEN
    return "".join(cells)


def _draw(cells: list[str], between: tuple[float, float] | None, letters: str) -> None:
    if between:
        first, last = (_cell(min(100.0, max(0.0, end))) for end in between)
        cells[first : last + 1] = letters[: last + 1 - first]


def _cell(percent: float) -> int:
    return round(percent / 100 * (LANE - 1))


def _axis(scale: Scale) -> str:
    """The labels of the ticks, each in the middle below its place; one that has no room is left out."""
    line = ""
    for place, text in scale.ticks:
        start = max(0, _cell(place) - len(text) // 2)
        if not line or start > len(line):
            line = f"{line:<{start}}{text}"
    return line


def _how_to_read(figure: Pairs) -> str:
    parts = [f"{FILLED} the interval excludes 0, {OPEN} it does not."]
    parts += [f"{ZONE} within the smallest gap that matters."] if figure.zone else []
    parts += [f"{figure.left} more in the table."] if figure.left else []
    return " ".join(parts)
