"""A gap of two arms in words: its size, unit and interval, with the digits that its interval supports."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from align_lab.compare.values import figure

RANGE = re.compile(r"^[-−+]?\d.* to [-−+]?\d")  # a unit that says what values there are, not what a gap is in
USUAL = 2  # decimals where nothing says how many


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What gaps are in: the metric that decides and its unit, and the gap that matters, if one is declared."""

    label: str = ""
    unit: str = ""
    smallest: float | None = None

    @property
    def counts(self) -> bool:
        """Can a gap be so many of this unit? A share or a range of values is none."""
        return bool(self.unit) and not RANGE.match(self.unit) and not self.unit.startswith("share")

    def amount(self, text: str) -> str:
        """`0.41 sd`; `0.12 in accuracy` where the unit is none that a gap has."""
        if self.counts:
            return f"{text} {self.unit}"
        return f"{text} in {self.label}" if self.label else text

    @property
    def matters(self) -> str:
        """`0.1 sd`: the gap that matters."""
        return "" if self.smallest is None else self.amount(f"{self.smallest:g}")

    def is_small(self, low: float | None, high: float | None) -> bool:
        """Does the whole interval lie within ± the gap that matters?"""
        if self.smallest is None or low is None or high is None:
            return False
        return max(-low, high) <= self.smallest


def bounds(low: float | None, high: float | None, places: int) -> str:
    """`[0.30, 0.52]`; nothing where there is no interval."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{figure(low, places)}, {figure(high, places)}]"


def places(halves: Iterable[float | None], values: Sequence[float | None] = ()) -> int:
    """Decimals for numbers that stand together: two digits of the usual half-width of their intervals, and one at
    least of the narrowest. Without intervals, three digits of the largest of `values`.
    """
    known = sorted(half for half in halves if half is not None and math.isfinite(half) and half > 0)
    if known:
        return min(6, max(_decimals(statistics.median_low(known), 2), _decimals(known[0], 1)))
    top = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    return min(6, _decimals(top, 3)) if top else USUAL


def enough(decimals: int, low: float | None, high: float | None) -> int:
    """As many decimals, or so many more that the end of an interval that excludes 0 does not read as 0."""
    end = low if low is not None and low > 0 else high if high is not None and high < 0 else None
    if end is None or not math.isfinite(end):
        return decimals
    return next((n for n in range(decimals, decimals + 3) if round(end, n)), decimals)


def half(low: float | None, high: float | None) -> float | None:
    """Half the width of an interval."""
    return None if low is None or high is None else (high - low) / 2


def _decimals(value: float, significant: int) -> int:
    """Decimals that show so many significant digits: of 0.178 two digits take two, 0.18."""
    return max(0, significant - 1 - math.floor(math.log10(value) + 1e-9))
