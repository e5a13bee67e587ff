"""Linear scales with round ticks, in percent of the width of a drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from align_lab.compare.report import words

FEWEST = 4  # ticks
TICKS = (10.0, 5.0, 2.5, 2.0, 1.0)
EDGE = 0.02  # of the width, beside which a label would leave a narrow screen
APART = 9.0  # percent of the width that two labels need


@dataclass(frozen=True)
class Scale:
    """A linear scale over the width, with its ticks."""

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


def scale(values: Iterable[float | None], *, around: float | None = None) -> Scale:
    """A scale that holds these values, and `around`, with four round ticks or a few more."""
    known = [value for value in [*values, around] if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = 0.04 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room
    margin = EDGE * (high - low)
    first, last = low + margin, high - margin
    step = _step(first, last)
    places = max(0, -math.floor(math.log10(step) + 1e-9)) + (round(step / 10 ** math.floor(math.log10(step)), 6) == 2.5)
    bare = Scale(low, high, ())
    ticks = tuple((bare.at(i * step), words.number(i * step, places)) for i in _multiples(first, last, step))
    return Scale(low, high, ticks)


def _step(low: float, high: float) -> float:
    """The largest round step of which enough multiples lie inside."""
    power = 10.0 ** math.floor(math.log10(high - low))
    steps = [factor * size for size in (power, power / 10) for factor in TICKS]
    return next(step for step in steps if len(_multiples(low, high, step)) >= FEWEST)


def _multiples(low: float, high: float, step: float) -> range:
    return range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)


def marked(axis: Scale, values: Iterable[float]) -> Scale:
    """The scale with these values among its ticks, in place of others that are near; not where they are near to 0."""
    own = [(axis.at(value), _text(value, axis.ticks)) for value in values]
    zero = axis.at(0.0)
    shown = [(x, text) for x, text in own if 0 <= x <= 100 and abs(x - zero) >= APART]
    others = [(x, text) for x, text in axis.ticks if all(abs(x - other) >= APART for other, _ in shown)]
    return Scale(axis.low, axis.high, tuple(sorted([*others, *shown])))


def _text(value: float, ticks: Iterable[tuple[float, str]]) -> str:
    """With as many decimals as the ticks have, or more where it needs them: `0.10` beside `0.05`."""
    plain = f"{value:g}".replace("-", "−")
    return max([plain, *(words.number(value, len(text.partition(".")[2])) for _, text in ticks)], key=len)
