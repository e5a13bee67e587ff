"""The two figures that answer the question: every seed of every arm, and every pair with the gap that matters.

They are rows of HTML with a drawing in percent of its width: no script draws them, so they are there at once, on paper
and on narrow screens, and their text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from align_lab.compare.document import Arm, Document, Pair
from align_lab.compare.report import words
from align_lab.compare.verdict import NOT_ENOUGH

MOST_PAIRS = 15  # rows of a figure; of more pairs those of the best arm
WIDEST = 3.0  # times as wide a scale may become for the start policy's value
NEAR, APART, LAYERS = 1.3, 4.5, 5  # percent of the width that seeds need; pixels between layers of seeds
TICKS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A linear scale over the width, with its ticks. zero: where 0 stands, None outside."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def at(self, value: float) -> float:
        """Percent of the width."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def between(self, low: float | None, high: float | None) -> tuple[float, float] | None:
        """The two ends of an interval, cut at the edges."""
        if low is None or high is None:
            return None
        return max(0.0, self.at(low)), min(100.0, self.at(high))


@dataclass(frozen=True)
class Seed:
    """A run: its place in percent, its height in pixels off the line of its arm, and what the pointer tells."""

    x: float
    dy: float
    title: str


@dataclass(frozen=True)
class Strip:
    """An arm: `place` among the arms, its seeds, and its mean with its interval in percent and in words."""

    arm: str
    place: int
    n: int
    seeds: tuple[Seed, ...]
    mean: float | None
    interval: tuple[float, float] | None
    text: str


@dataclass(frozen=True)
class Seeds:
    """The first figure. start: the place of the start policy's value; outside: that value where it is off the scale."""

    label: str
    scale: Scale
    strips: tuple[Strip, ...]
    start: float | None
    outside: str


@dataclass(frozen=True)
class Gap:
    """A pair: names, gap and corrected interval in percent and in words. outcome: better, equal or open."""

    a: str
    b: str
    mean: float
    interval: tuple[float, float] | None
    text: str
    p: str
    words: str
    outcome: str


@dataclass(frozen=True)
class Pairs:
    """The second figure. zone: ± the smallest gap that matters, in percent; left: pairs that are only in the table."""

    label: str
    scale: Scale
    zero: float
    zone: tuple[float, float] | None
    gaps: tuple[Gap, ...]
    left: int


def scale(values: Iterable[float | None], *, around: float | None = None) -> Scale:
    """A scale that holds these values, and `around`, with about five round ticks."""
    known = [value for value in [*values, around] if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = 0.04 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room
    step = _step((high - low) / 5)
    first, last = math.ceil(low / step), math.floor(high / step)
    places = max(0, -math.floor(math.log10(step) + 1e-9)) + (round(step / 10 ** math.floor(math.log10(step)), 6) == 2.5)
    bare = Scale(low, high, ())
    ticks = tuple((bare.at(i * step), words.number(i * step, places)) for i in range(first, last + 1))
    return Scale(low, high, ticks)


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in TICKS if factor * power >= rough * (1 - 1e-9))


def seeds(document: Document) -> Seeds | None:
    """Every seed of every arm under the metric that decides; None where no run has finished."""
    metric = document["metric"]
    members = [(place, arm) for place, arm in enumerate(document["arms"]) if metric in arm["metrics"]]
    if not members:
        return None
    summaries = [arm["metrics"][metric] for _, arm in members]
    inside = [value for one in summaries for value in (*one["values"], one["low"], one["high"])]
    starts = [one["start"] for one in summaries if one["start"] is not None]
    start = sum(starts) / len(starts) if starts else None
    narrow, wide = scale(inside), scale(inside, around=start)
    fits = wide.high - wide.low <= WIDEST * (narrow.high - narrow.low)
    places = words.digits(value for one in summaries for value in one["values"])
    axis = wide if fits else narrow
    return Seeds(
        label=words.with_unit(document, metric),
        scale=axis,
        strips=tuple(_strip(arm, place, metric, axis, places) for place, arm in members),
        start=axis.at(start) if start is not None and fits else None,
        outside="" if start is None or fits else words.number(start, places),
    )


def _strip(arm: Arm, place: int, metric: str, axis: Scale, places: int) -> Strip:
    one = arm["metrics"][metric]
    values = sorted((value, seed) for seed, value in zip(arm["seeds"], one["values"], strict=True) if value is not None)
    mean = one["mean"]
    bounds = words.between(one["low"], one["high"], places)
    return Strip(
        arm=arm["name"],
        place=place,
        n=len(values),
        seeds=tuple(_seeds(values, axis, places)),
        mean=None if mean is None else axis.at(mean),
        interval=axis.between(one["low"], one["high"]),
        text=words.number(mean, places) + (f" ({bounds})" if bounds != words.NOTHING else ""),
    )


def _seeds(values: Sequence[tuple[float, int]], axis: Scale, places: int) -> Iterable[Seed]:
    """From left to right; a seed goes to the first layer that has room for it, above and below the line in turn."""
    ends = [-math.inf] * LAYERS
    for value, seed in values:
        x = axis.at(value)
        layer = next((i for i, end in enumerate(ends) if x - end >= NEAR), min(range(LAYERS), key=ends.__getitem__))
        ends[layer] = x
        side = -1 if layer % 2 else 1
        yield Seed(x, side * APART * ((layer + 1) // 2), f"seed {seed}: {words.number(value, places)}")


def pairs(document: Document) -> Pairs | None:
    """Every pair that was asked for, with ± the gap that matters; None without pairs."""
    every = document["verdict"]["pairs"]
    if not every:
        return None
    shown = every
    if len(every) > MOST_PAIRS:
        names = [arm["name"] for arm in document["arms"]]
        first = next((name for name in names if any(name in (pair["a"], pair["b"]) for pair in every)), "")
        shown = [pair for pair in every if first in (pair["a"], pair["b"])][: 2 * MOST_PAIRS]
    smallest = document["verdict"]["smallest"]
    zone = () if smallest is None else (-smallest, smallest)
    axis = scale([value for pair in shown for value in (pair["gap"], pair["low"], pair["high"])] + [*zone], around=0.0)
    places = words.digits(value for pair in shown for value in (pair["gap"], pair["low"], pair["high"]))
    return Pairs(
        label=words.with_unit(document, document["metric"]),
        scale=axis,
        zero=axis.at(0.0),
        zone=axis.between(-smallest, smallest) if smallest is not None else None,
        gaps=tuple(_gap(pair, axis, places, smallest) for pair in shown),
        left=len(every) - len(shown),
    )


def _gap(pair: Pair, axis: Scale, places: int, smallest: float | None) -> Gap:
    low, high = pair["low"], pair["high"]
    bounds = words.between(low, high, places)
    return Gap(
        a=pair["a"],
        b=pair["b"],
        mean=axis.at(pair["gap"]),
        interval=axis.between(low, high),
        text=words.number(pair["gap"], places) + (f" ({bounds})" if bounds != words.NOTHING else ""),
        p="" if pair["p"] is None else f"p {_with_sign(words.probability(pair['p']))}",
        words=_short(pair["words"]),
        outcome=outcome(pair, smallest),
    )


def _short(text: str) -> str:
    """Without what would tell more, which stands in the table of pairs."""
    return NOT_ENOUGH.rstrip(": ") if text.startswith(NOT_ENOUGH) else text


def _with_sign(text: str) -> str:
    return text if text.startswith("<") else f"= {text}"


def outcome(pair: Pair, smallest: float | None) -> str:
    """better: the interval excludes 0; equal: it lies within ± smallest; open: neither."""
    low, high = pair["low"], pair["high"]
    if low is None or high is None:
        return "open"
    if low > 0 or high < 0:
        return "better"
    return "equal" if smallest is not None and max(-low, high) <= smallest else "open"
