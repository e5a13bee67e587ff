"""The two figures that answer the question: every seed of every arm, and every pair with the gap that matters.

They are rows of HTML with a drawing in percent of its width: no script draws them, so they are there at once, on paper
and on narrow screens, and their text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from align_lab.compare import gaps, outcomes
from align_lab.compare.document import Arm, Document, Pair
from align_lab.compare.report import words
from align_lab.compare.report.scale import Scale, marked, scale

MOST_PAIRS = 40  # rows of a figure; of more pairs those that are decided, then those of the best arm
AT_ONCE = 12  # of them that are not folded, where there are more than ROWS
ROWS = 15
WIDEST = 3.0  # times as wide a scale may become for the start policy's value
NEAR, APART, LAYERS = 1.3, 4.5, 5  # percent of the width that seeds need; pixels between layers of seeds
RING, SMALL, MANY = 4.2, 3.0, 15  # pixels, the radius of a seed's ring; of so many seeds they are small


@dataclass(frozen=True)
class Seed:
    """A run: its place in percent, its height in pixels off the line of its arm, and what the pointer tells."""

    x: float
    dy: float
    title: str


@dataclass(frozen=True)
class Strip:
    """An arm: `place` among the arms, its seeds, and its mean with its interval in percent and in words; one seed has
    no mean beside it.
    """

    arm: str
    place: int
    n: int
    seeds: tuple[Seed, ...]
    mean: float | None
    interval: tuple[float, float] | None
    text: str


@dataclass(frozen=True)
class Seeds:
    """The first figure. start: the place of the start policy's value; outside: that value where it is off the scale;
    ring: pixels, the radius of a seed's ring.
    """

    label: str
    scale: Scale
    strips: tuple[Strip, ...]
    start: float | None
    outside: str
    ring: float


@dataclass(frozen=True)
class Gap:
    """A pair: names, gap and corrected interval in percent and in words. outcome: better, slight, equal or open."""

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
    """The second figure. zone: ± the smallest gap that matters, in percent; at_once: rows that are not folded; left:
    pairs that are only in the table.
    """

    label: str
    scale: Scale
    zero: float
    zone: tuple[float, float] | None
    gaps: tuple[Gap, ...]
    at_once: int
    left: int


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
    places = gaps.places(
        (gaps.half(one["low"], one["high"]) for one in summaries),
        [value for one in summaries for value in one["values"]],
    )
    axis = wide if fits else narrow
    ring = RING if max(arm["n"] for _, arm in members) < MANY else SMALL
    return Seeds(
        label=words.with_unit(document, metric),
        scale=axis,
        strips=tuple(_strip(arm, place, metric, axis, places, ring / RING) for place, arm in members),
        start=axis.at(start) if start is not None and fits else None,
        outside="" if start is None or fits else words.number(start, places),
        ring=ring,
    )


def _strip(arm: Arm, place: int, metric: str, axis: Scale, places: int, size: float) -> Strip:
    one = arm["metrics"][metric]
    values = sorted((value, seed) for seed, value in zip(arm["seeds"], one["values"], strict=True) if value is not None)
    mean = one["mean"]
    return Strip(
        arm=arm["name"],
        place=place,
        n=len(values),
        seeds=tuple(_seeds(values, axis, places, size)),
        mean=axis.at(mean) if mean is not None and len(values) > 1 else None,
        interval=axis.between(one["low"], one["high"]),
        text=words.with_interval(mean, one["low"], one["high"], places),
    )


def _seeds(values: Sequence[tuple[float, int]], axis: Scale, places: int, size: float) -> Iterable[Seed]:
    """From left to right; a seed goes to the first layer that has room for it, above and below the line in turn.

    size: of its ring, where 1 is the usual one.
    """
    ends = [-math.inf] * LAYERS
    for value, seed in values:
        x = axis.at(value)
        room = (i for i, end in enumerate(ends) if x - end >= NEAR * size)
        layer = next(room, min(range(LAYERS), key=ends.__getitem__))
        ends[layer] = x
        side = -1 if layer % 2 else 1
        yield Seed(x, round(side * APART * size * ((layer + 1) // 2), 2), f"seed {seed}: {words.number(value, places)}")


def pairs(document: Document) -> Pairs | None:
    """Every pair that was asked for, those that are decided first, with ± the gap that matters; None without pairs."""
    every, smallest = document["verdict"]["pairs"], document["verdict"]["smallest"]
    if not every:
        return None
    shown = outcomes.first(every, smallest, most=MOST_PAIRS)
    zone = () if smallest is None else (-smallest, smallest)
    axis = scale([value for pair in shown for value in (pair["gap"], pair["low"], pair["high"])] + [*zone], around=0.0)
    places = gaps.places((gaps.half(pair["low"], pair["high"]) for pair in shown), [pair["gap"] for pair in shown])
    return Pairs(
        label=words.with_unit(document, document["metric"]),
        scale=marked(axis, zone),
        zero=axis.at(0.0),
        zone=axis.between(-smallest, smallest) if smallest is not None else None,
        gaps=tuple(_gap(pair, axis, places, smallest) for pair in shown),
        at_once=len(shown) if len(shown) <= ROWS else AT_ONCE,
        left=len(every) - len(shown),
    )


def _gap(pair: Pair, axis: Scale, places: int, smallest: float | None) -> Gap:
    low, high = pair["low"], pair["high"]
    kind = outcomes.outcome(pair, smallest)
    decided = kind in ("better", "slight") and pair["p"] is not None
    return Gap(
        a=pair["a"],
        b=pair["b"],
        mean=axis.at(pair["gap"]),
        interval=axis.between(low, high),
        text=words.with_interval(pair["gap"], low, high, gaps.enough(places, low, high)),
        p=f"p {_with_sign(words.probability(pair['p']))}" if decided else "",
        words=outcomes.in_words(pair, smallest),
        outcome=kind,
    )


def _with_sign(text: str) -> str:
    return text if text.startswith("<") else f"= {text}"
