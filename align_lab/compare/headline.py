"""The one sentence of a comparison: who leads, as strong as the corrected intervals of the pairs allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from align_lab.compare.verdict import NO_DIFFERENCE, NOT_ENOUGH, Comparison, ranked


def headline(comparisons: Sequence[Comparison], arms: Mapping[str, Sequence[float]]) -> str:
    """One sentence on who leads, as strong as the comparisons (of `verdicts`) allow: the first of RULES that fits."""
    names = ranked(arms)
    if len(names) < 2:
        return "One arm only: nothing to compare it with."
    standing = _standing(names, comparisons)
    sentence = next(words(standing) for fits, words in RULES if fits(standing))
    return f"{sentence} (corrected for {len(comparisons)} comparisons)." if len(comparisons) > 1 else f"{sentence}."


def headline_against(control: str, comparisons: Sequence[Comparison]) -> str:
    """One sentence on which arms differ from the control, which do not, and for which there are too few seeds."""
    if not comparisons:
        return "One arm only: nothing to compare it with."
    groups: dict[str, list[str]] = {"better than": [], "worse than": [], "as good as": [], "not told from": []}
    for one in comparisons:
        other = one.b if one.a == control else one.a
        shown = "as good as" if one.words == NO_DIFFERENCE else "not told from"
        kind = shown if one.better is None else "better than" if one.better == other else "worse than"
        groups[kind].append(other)
    words = {
        "better than": "better than {control}: {names}",
        "worse than": "worse: {names}" if groups["better than"] else "worse than {control}: {names}",
        "as good as": "no difference shown: {names}",
        "not told from": "not enough seeds: {names}",
    }
    parts = [words[kind].format(control=control, names=_listed(names)) for kind, names in groups.items() if names]
    named = groups["better than"] or groups["worse than"]
    sentence = "; ".join(parts) if named else f"against {control}: {'; '.join(parts)}"
    number = f" (corrected for {len(comparisons)} comparisons)" if len(comparisons) > 1 else ""
    return f"{sentence[0].upper()}{sentence[1:]}{number}."


@dataclass(frozen=True, kw_only=True)
class _Standing:
    """Who leads. `first`: the best mean among the arms that no other is shown to beat."""

    first: str
    worse: list[str]  # shown to be worse than the first
    close: list[str]  # the first, and those that are not shown to be worse
    beats: Mapping[str, set[str]]  # arm -> those shown to be worse than it
    among: list[Comparison]  # those of close arms

    @property
    def unsure(self) -> list[Comparison]:
        """Those of the first with a close arm for which there are not enough seeds."""
        return [one for one in self.among if one.words.startswith(NOT_ENOUGH) and self.first in (one.a, one.b)]

    @property
    def equal(self) -> bool:
        """Is every pair of close arms shown not to differ?"""
        return all(one.words == NO_DIFFERENCE for one in self.among)

    @property
    def all_beat_the_rest(self) -> bool:
        """Is each of the close arms shown to be better than each of the others?"""
        return bool(self.worse) and all(self.beats[name] >= set(self.worse) for name in self.close)


def _standing(names: Sequence[str], comparisons: Sequence[Comparison]) -> _Standing:
    beats: dict[str, set[str]] = {name: set() for name in names}
    for better, worse in ((one.better, one.worse) for one in comparisons):
        if better and worse:
            beats[better].add(worse)
    beaten = set().union(*beats.values())
    first = next((name for name in names if name not in beaten), names[0])
    worse = [name for name in names if name in beats[first]]
    close = [first, *(name for name in names if name not in {first, *worse})]
    return _Standing(first=first, worse=worse, close=close, beats=beats, among=_among(comparisons, close))


def _among(comparisons: Sequence[Comparison], names: Sequence[str]) -> list[Comparison]:
    return [one for one in comparisons if {one.a, one.b} <= set(names)]


def _one_better(standing: _Standing) -> str:
    return f"{standing.first} is better than {standing.worse[0]}"


def _best(standing: _Standing) -> str:
    return f"{standing.first} is better than every other arm"


def _not_enough(standing: _Standing) -> str:
    most = max(standing.unsure, key=lambda one: one.needed or 0)
    others = _listed([one.b if one.a == standing.first else one.a for one in standing.unsure])
    words = most.words.removeprefix(NOT_ENOUGH)
    return f"Not enough seeds to tell {standing.first} from {others}: {words}{_and_better(standing)}"


def _shared_and_better(standing: _Standing) -> str:
    number = "both" if len(standing.close) == 2 else "all"
    return f"{_share(standing)}; {number} are better than {_listed(standing.worse)}"


def _shared(standing: _Standing) -> str:
    return f"{_share(standing)}{_and_better(standing)}"


def _leads(standing: _Standing) -> str:
    others = _listed(standing.close[1:])
    return f"{standing.first} leads, but no difference is shown between it and {others}{_and_better(standing)}"


def _share(standing: _Standing) -> str:
    return f"{_listed(standing.close)} share the lead: no difference shown between them"


def _and_better(standing: _Standing) -> str:
    return f"; {standing.first} is better than {_listed(standing.worse)}" if standing.worse else ""


Rule = tuple[Callable[[_Standing], bool], Callable[[_Standing], str]]

RULES: tuple[Rule, ...] = (  # the first that fits is what the headline says
    (lambda it: len(it.close) == 1 and len(it.worse) == 1, _one_better),
    (lambda it: len(it.close) == 1, _best),
    (lambda it: bool(it.unsure), _not_enough),
    (lambda it: it.equal and it.all_beat_the_rest, _shared_and_better),
    (lambda it: it.equal, _shared),
    (lambda it: True, _leads),
)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
