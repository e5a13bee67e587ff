"""Who is shown to be better than whom: the order of the arms as far as their pairs carry it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from align_lab.compare.verdict import EQUAL, NO_DIFFERENCE, Comparison


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The arms by their means, and their pairs. `first`: the best mean of the arms that no other is shown to beat."""

    names: Sequence[str]
    first: str
    beats: Mapping[str, Sequence[str]]  # arm -> those shown to be worse than it, by their means
    pairs: Mapping[frozenset[str], Comparison]

    @property
    def close(self) -> list[str]:
        """The arms that are not shown to be worse than the first."""
        return [name for name in self.names if name not in (self.first, *self.beats[self.first])]

    @property
    def beside(self) -> list[Comparison]:
        """The pairs of the first with those."""
        return [one for name in self.close if (one := self.pair(self.first, name))]

    @property
    def others(self) -> list[tuple[list[str], list[str]]]:
        """Further arms that are shown to be better than some, those together that beat the same: (winners, losers)."""
        groups: dict[tuple[str, ...], list[str]] = {}
        for name in self.names:
            if name != self.first and self.beats[name]:
                groups.setdefault(tuple(self.beats[name]), []).append(name)
        return [(winners, list(losers)) for losers, winners in groups.items()]

    @property
    def shared(self) -> bool:
        """Is every pair of the first and those close to it shown to be equal?"""
        leaders = {self.first, *self.close}
        among = [one for pair, one in self.pairs.items() if pair <= leaders]
        return bool(self.close) and all(one.words.startswith(EQUAL) for one in among)

    @property
    def all_beat_the_rest(self) -> bool:
        """Is each of the first and those close to it shown to be better than each of the rest?"""
        rest = self.beats[self.first]
        return bool(rest) and all({*rest} <= {*self.beats[name]} for name in self.close)

    def pair(self, a: str, b: str) -> Comparison | None:
        """The pair of two arms."""
        return self.pairs.get(frozenset((a, b)))


def standing(names: Sequence[str], comparisons: Sequence[Comparison]) -> Standing:
    """Of arms by their means."""
    worse: dict[str, set[str]] = {name: set() for name in names}
    for one in comparisons:
        if one.better and one.worse:
            worse[one.better].add(one.worse)
    beaten = set[str]().union(*worse.values())
    return Standing(
        names=names,
        first=next((name for name in names if name not in beaten), names[0]),
        beats={name: [other for other in names if other in lost] for name, lost in worse.items()},
        pairs={frozenset((one.a, one.b)): one for one in comparisons},
    )


def kind(one: Comparison) -> str:
    """better, equal, open (no gap that matters was declared) or unsure (not enough seeds)."""
    if one.better:
        return "better"
    return "equal" if one.words.startswith(EQUAL) else "open" if one.words == NO_DIFFERENCE else "unsure"
