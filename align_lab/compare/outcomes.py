"""What became of a pair of arms, in one word and in few: for figures, and for the cells of tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from align_lab.compare.document import Pair
from align_lab.compare.gaps import Measure
from align_lab.compare.verdict import NO_DIFFERENCE, NOT_ENOUGH

Outcome = Literal["better", "slight", "equal", "open"]
ORDER = {"better": 0, "slight": 0, "equal": 1, "open": 2}


def outcome(pair: Pair, smallest: float | None) -> Outcome:
    """better: the interval excludes 0; slight: and lies within ± smallest; equal: it lies within and holds 0; open."""
    low, high = pair["low"], pair["high"]
    if low is None or high is None:
        return "open"
    small = Measure(smallest=smallest).is_small(low, high)
    if low > 0 or high < 0:
        return "slight" if small else "better"
    return "equal" if small else "open"


def in_words(pair: Pair, smallest: float | None) -> str:
    """Of the first arm: `better`, `worse, by less than 0.5`, `equal within ±0.1`, `not enough seeds`."""
    kind = outcome(pair, smallest)
    if kind == "equal":
        return f"equal within ±{smallest:g}"
    if kind == "open":
        return pair["words"] if pair["words"] == NO_DIFFERENCE else NOT_ENOUGH.rstrip(": ")
    side = "worse" if (pair["high"] or 0.0) < 0 else "better"
    return f"{side}, by less than {smallest:g}" if kind == "slight" else side


def ordered(pairs: Sequence[Pair], smallest: float | None) -> list[Pair]:
    """Those that are decided first, then those that are shown to be equal; else in their order."""
    return sorted(pairs, key=lambda pair: ORDER[outcome(pair, smallest)])


def first(pairs: Sequence[Pair], smallest: float | None, *, most: int) -> list[Pair]:
    """As many of them as can be shown: decided ones, then those of the arm that stands first, then the others."""
    if len(pairs) <= most:
        return ordered(pairs, smallest)
    decided = [pair for pair in ordered(pairs, smallest) if outcome(pair, smallest) != "open"]
    rest = [pair for pair in pairs if outcome(pair, smallest) == "open"]
    leading = pairs[0]["a"]
    rest.sort(key=lambda pair: leading not in (pair["a"], pair["b"]))
    return [*decided, *rest][:most]
