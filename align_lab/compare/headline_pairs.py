"""The clauses of a comparison's sentence: what single pairs, or several together, are said to show."""

from __future__ import annotations

from collections.abc import Sequence

from align_lab.compare import gaps
from align_lab.compare.gaps import Measure
from align_lab.compare.standing import kind
from align_lab.compare.values import figure, listed
from align_lab.compare.verdict import NOT_ENOUGH, Comparison


class Telling:
    """Makes the clauses, in the order in which they are read: the first gap has its unit, the others do not."""

    def __init__(self, comparisons: Sequence[Comparison], measure: Measure) -> None:
        self._measure = measure
        self._said = False
        halves = (gaps.half(one.gap.low, one.gap.high) for one in comparisons)
        self._places = gaps.places(halves, [one.gap.mean for one in comparisons])

    def gap(self, one: Comparison) -> str:
        """`0.41 sd [0.30, 0.52]`: of the better arm over the worse one."""
        low, high = one.gap.low, one.gap.high
        mean, low, high = (-one.gap.mean, -high, -low) if one.better == one.b else (one.gap.mean, low, high)
        places = gaps.enough(self._places, low, high)
        return f"{self._amount(figure(mean, places))} {gaps.bounds(low, high, places)}".strip()

    def unit(self) -> str:
        """Behind ± the gap that matters; it counts as said."""
        return self._amount("")

    def _amount(self, text: str) -> str:
        said, self._said = self._said, True
        return text if said else self._measure.amount(text)

    def of_pair(self, one: Comparison) -> str:
        """What one pair shows."""
        if one.better and one.worse:
            return self.better([one.better], [one.worse], [one], of=one.worse)
        if kind(one) == "equal":
            return self.equal(one)
        return self.untold(one.a, one.a, [one])

    def better(self, winners: Sequence[str], losers: Sequence[str], pairs: Sequence[Comparison], *, of: str) -> str:
        """`A is better than B by 0.41 [0.30, 0.52]`; of several, with the smallest gap. of: the losers in words."""
        text = f"{listed(winners)} {'is' if len(winners) == 1 else 'are'} better than {of}"
        nearest = min(pairs, key=lambda one: abs(one.gap.mean))
        if len(pairs) == 1:
            text += f" by {self.gap(nearest)}"
        elif len(winners) == 1:
            text += f", by {self.gap(nearest)} over {nearest.worse}"
        else:
            text += f", the smallest gap {self.gap(nearest)}"
        return text + self._smaller(pairs)

    def _smaller(self, pairs: Sequence[Comparison]) -> str:
        """Which of these gaps lie wholly within the gap that matters: they are shown, and small."""
        small = [one for one in pairs if self._measure.is_small(one.gap.low, one.gap.high)]
        if not small:
            return ""
        less = f"less than the {self._measure.smallest:g} that matters"
        if len(pairs) == 1:
            return f", {less}"
        if len(small) == len(pairs):
            return f" (each by {less})"
        return f" ({listed(dict.fromkeys(one.worse for one in small))} by {less})"

    def equal(self, one: Comparison) -> str:
        """`A and B are equal to within ±0.1 sd (gap 0.02 [-0.03, 0.07])`"""
        return f"{one.a} and {one.b} are {one.words}{self.unit()} (gap {self.gap(one)})"

    def equals(self, first: str, pairs: Sequence[Comparison]) -> str:
        """To which arms one is equal."""
        if len(pairs) == 1:
            return self.equal(pairs[0])
        others = listed([one.b if one.a == first else one.a for one in pairs])
        return f"{first} is {pairs[0].words}{self.unit()} to {others}"

    def untold(self, who: str, first: str, pairs: Sequence[Comparison], *, whom: str = "") -> str:
        """From whom an arm is not distinguished: `whom` in words, else by name; with the gap of the nearest."""
        others = [one.b if one.a == first else one.a for one in pairs]
        whom = whom or listed(others)
        if kind(pairs[0]) == "open":
            text = f"no difference is shown between {who} and {whom}"
        else:
            text = f"not enough seeds to distinguish {who} from {whom}"
        if len(pairs) == 1:
            return f"{text}: the gap is {self.gap(pairs[0])}{_why(pairs[0])}"
        if kind(pairs[0]) == "open":
            most = max(max(abs(one.gap.low), abs(one.gap.high)) for one in pairs)
            return f"{text} (gaps of up to {most:.2g} are not ruled out)"
        nearest = min(pairs, key=lambda one: abs(one.gap.mean))
        name = others[list(pairs).index(nearest)]
        return f"{text}, of which {name} is the nearest: the gap is {self.gap(nearest)}{_why(nearest)}"


def _why(one: Comparison) -> str:
    """Why seeds do not suffice, where their number is not the answer: one seed, or a plan that has ended."""
    if not one.words.startswith(NOT_ENOUGH):
        return ""
    reason = one.words.removeprefix(NOT_ENOUGH)
    return "" if one.needed is not None and one.gap.low == one.gap.low else f" ({reason.partition(', at least')[0]})"
