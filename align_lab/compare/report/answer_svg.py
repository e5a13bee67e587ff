"""The two figures that answer the question as files for papers: the same rows as those of the page, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from align_lab.compare.document import Document
from align_lab.compare.report import answer, directly, palette, words
from align_lab.compare.report.answer import Gap, Pairs, Seeds, Strip
from align_lab.compare.report.palette import LIGHT
from align_lab.compare.report.scale import Scale

LANE = 340.0  # width of the drawing between names and numbers
SIZE, LETTER = 13, 7.6  # of the text, and the width of a letter of bold text: no font is measured here
GAP, EDGE = 14.0, 8.0
LINE = 17.0
Row = tuple[str, str, str, str]  # the name that is bold, what follows it, numbers, and words
Across = Callable[[float], float]  # percent of the lane -> x
Height = tuple[float, float]  # the middle of a row, and its height
TALL = {"seeds": 44.0, "pairs": 30.0}  # height of a row
BOTTOM = 34.0  # for ticks and the label of the axis


def drawings(document: Document) -> dict[str, str]:
    """File name (without ending) -> SVG: every seed of every arm, and every pair."""
    metric = document["metric"].replace("eval/", "").replace("/", "-")
    seeds, pairs = answer.seeds(document), answer.pairs(document)
    drawn = {f"scores-{metric}": _seeds(seeds)} if seeds else {}
    return drawn | ({"pairs": _pairs(pairs)} if pairs else {})


def _seeds(figure: Seeds) -> str:
    rows = [(strip.arm, "", strip.text, f"n = {strip.n}") for strip in figure.strips]
    label = words.capitalized(figure.label)

    def lane(place: int, x: Across, row: Height) -> str:
        return _strip(figure, figure.strips[place], x, row)

    return _drawn(rows, figure.scale, label, TALL["seeds"], lane, marks=[strip.place for strip in figure.strips])


def _strip(figure: Seeds, strip: Strip, x: Across, row: Height) -> str:
    """Rings for seeds; below them the mean with its interval; the start as a dashed line."""
    color, (middle, height) = _color(strip.place), row
    start = "" if figure.start is None else _line(x(figure.start), middle, height, LIGHT["soft"], "4 3")
    rings = "".join(
        f'<circle cx="{x(seed.x):.1f}" cy="{middle - 8 + seed.dy:.1f}" r="{figure.ring - 0.2:g}" fill="{color}" '
        f'fill-opacity=".18" stroke="{color}" stroke-width="1.4"/>'
        for seed in strip.seeds
    )
    bar = _bar(strip.interval, x, middle + 12, color)
    mean = "" if strip.mean is None else _mark(strip.place, x(strip.mean), middle + 12)
    return start + rings + bar + mean


def _pairs(figure: Pairs) -> str:
    rows = [(gap.a, f"− {gap.b}", gap.text, gap.words) for gap in figure.gaps]
    label = f"Gap in {figure.label}: first − second"

    def lane(place: int, x: Across, row: Height) -> str:
        return _gap(figure, figure.gaps[place], x, row)

    return _drawn(rows, figure.scale, label, TALL["pairs"], lane)


def _gap(figure: Pairs, gap: Gap, x: Across, row: Height) -> str:
    """The gap with its interval over the zone of gaps that do not matter; filled where it excludes 0."""
    color, (middle, height) = LIGHT["ink"] if gap.outcome == "better" else LIGHT["soft"], row
    zone = ""
    if figure.zone:
        left, right = (x(end) for end in figure.zone)
        zone = (
            f'<rect x="{left:.1f}" y="{middle - height / 2:.1f}" width="{right - left:.1f}" height="{height:.1f}" '
            f'fill="{LIGHT["link"]}" fill-opacity=".1"/>'
        )
    fill = color if gap.outcome in ("better", "slight") else LIGHT["paper"]
    point = (
        f'<circle cx="{x(gap.mean):.1f}" cy="{middle:.1f}" r="4.6" fill="{fill}" stroke="{color}" stroke-width="2"/>'
    )
    return zone + _line(x(figure.zero), middle, height, LIGHT["ink"]) + _bar(gap.interval, x, middle, color) + point


def _drawn(
    rows: Sequence[Row],
    scale: Scale,
    label: str,
    tall: float,
    lane: Callable[[int, Across, Height], str],
    marks: Sequence[int] = (),
) -> str:
    """Rows of a name, a lane with the ticks of the scale, numbers and words. A long name stands in lines."""
    names = [_name(row) for row in rows]
    left = EDGE + (18 if marks else 0) + LETTER * max(len(line) for name in names for line, _ in name) + GAP
    numbers, said = (LETTER * max(len(row[place]) for row in rows) for place in (2, 3))
    width = left + LANE + GAP + numbers + GAP + said + EDGE
    heights = [max(tall, LINE * len(name) + 10) for name in names]
    tops = [EDGE + sum(heights[:i]) for i in range(len(rows))]
    bottom = EDGE + sum(heights)

    def x(percent: float) -> float:
        return left + percent / 100 * LANE

    parts = [_line(x(at), (EDGE + bottom) / 2, bottom - EDGE, LIGHT["faint"]) for at, _ in scale.ticks]
    for i, (row, top, height) in enumerate(zip(rows, tops, heights, strict=True)):
        middle = top + height / 2
        parts += [_mark(marks[i], EDGE + 5, middle)] if marks else []
        parts += _lines(names[i], EDGE + (18 if marks else 0), middle)
        parts.append(lane(i, x, (middle, height)))
        parts += [_text(row[2], left + LANE + GAP, middle), _text(row[3], left + LANE + 2 * GAP + numbers, middle)]
    parts += [_text(text, x(at), bottom + 12, anchor="middle") for at, text in scale.ticks]
    parts.append(_text(label, left + LANE / 2, bottom + 29, anchor="middle"))
    size = f'width="{width:.0f}" height="{bottom + BOTTOM + EDGE:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{escape(palette.FONT)}" font-size="{SIZE}">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>'
    )


def _name(row: Row) -> list[tuple[str, str]]:
    """Lines of a row's name, each with its part that is bold; one line where it is short."""
    first, rest, *_ = row
    whole = f"{first} {rest}".strip()
    if len(whole) <= 2 * directly.LETTERS:
        return [(whole, first)]
    return [(first, first), *([(rest, "")] if rest else [])]


def _lines(name: Sequence[tuple[str, str]], x: float, middle: float) -> Iterable[str]:
    for i, (line, bold) in enumerate(name):
        y = middle + LINE * (i - (len(name) - 1) / 2)
        rest = line.removeprefix(bold)
        strong = f'<tspan font-weight="600">{escape(bold)}</tspan>' if bold else ""
        yield f'<text x="{x:.1f}" y="{y + 4.5:.1f}" fill="{LIGHT["ink"]}">{strong}{escape(rest)}</text>'


def _text(text: str, x: float, middle: float, *, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{middle + 4.5:.1f}" text-anchor="{anchor}" fill="{LIGHT["ink"]}">{escape(text)}</text>'
    )


def _line(x: float, middle: float, height: float, color: str, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    ends = f'y1="{middle - height / 2:.1f}" y2="{middle + height / 2:.1f}"'
    return f'<line x1="{x:.1f}" x2="{x:.1f}" {ends} stroke="{color}"{dashed}/>'


def _bar(interval: tuple[float, float] | None, x: Across, y: float, color: str) -> str:
    if interval is None:
        return ""
    low, high = map(x, interval)
    return f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{color}" stroke-width="2.4"/>'


def _mark(place: int, x: float, y: float) -> str:
    outline = palette.MARKS[palette.SHAPES[place % len(palette.SHAPES)]]
    return f'<g transform="translate({x:.1f} {y:.1f})" fill="{_color(place)}">{outline}</g>'


def _color(place: int) -> str:
    return LIGHT[f"arm-{place % palette.COLORS}"]
