"""The one sentence of a comparison: who leads, as strong as the corrected intervals of the pairs allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from align_lab.compare.asked import Asked
from align_lab.compare.verdict import EQUAL, NO_DIFFERENCE, NOT_ENOUGH, Comparison, ranked

ALONE = "One arm only: nothing to compare it with."


def sentence(
    asked: Asked, comparisons: Sequence[Comparison], arms: Mapping[str, Sequence[float]], *, corrected: int = 0
) -> str:
    """The answer to what was asked. corrected: comparisons that count, where not all of them are here."""
    count = max(corrected, len(comparisons))
    if asked.contrasts:
        return headline_of_contrasts(asked, comparisons, count)
    return headline_against(asked.control, comparisons, count) if asked.control else headline(comparisons, arms, count)


def headline(comparisons: Sequence[Comparison], arms: Mapping[str, Sequence[float]], count: int = 0) -> str:
    """One sentence on who leads, as strong as the comparisons (of `verdicts`) allow: the first of RULES that fits."""
    names = ranked(arms)
    if len(names) < 2:
        return ALONE
    standing = _standing(names, comparisons)
    return _ended(next(words(standing) for fits, words in RULES if fits(standing)), count or len(comparisons))


def _ended(text: str, count: int) -> str:
    return f"{text} (corrected for {count} comparisons)." if count > 1 else f"{text}."


def headline_of_contrasts(asked: Asked, comparisons: Sequence[Comparison], count: int = 0) -> str:
    """What became of each pair that the study asked for, in its order."""
    known = {frozenset((one.a, one.b)): one for one in comparisons}
    parts = [_of_pair(a, b, known.get(frozenset((a, b)))) for a, b in asked.contrasts]
    text = "; ".join(parts)
    named = text.startswith(tuple(name for pair in asked.contrasts for name in pair))  # a name keeps its first letter
    return _ended(text if named else f"{text[0].upper()}{text[1:]}", count or len(parts))


def _of_pair(a: str, b: str, one: Comparison | None) -> str:
    if one is None:
        return f"{a} and {b}: not yet run"
    if one.better:
        return f"{one.better} is better than {one.worse}"
    if one.words.startswith(EQUAL):
        return f"{a} and {b} are {one.words}"
    if one.words == NO_DIFFERENCE:
        return f"no difference is shown between {a} and {b}{_possible([one])}"
    return f"not enough seeds to tell {a} from {b}: {one.words.removeprefix(NOT_ENOUGH)}"


def _possible(pairs: Sequence[Comparison]) -> str:
    """How large the gaps may be that are not shown: absence of evidence with its size."""
    most = max((max(abs(one.gap.low), abs(one.gap.high)) for one in pairs), default=0.0)
    return f" (gaps of up to {most:.2g} are not ruled out)" if most > 0 else ""


def headline_against(control: str, comparisons: Sequence[Comparison], count: int = 0) -> str:
    """One sentence on which arms differ from the control, which do not, and for which there are too few seeds."""
    if not comparisons:
        return ALONE
    groups: dict[str, list[Comparison]] = {"better": [], "worse": [], "equal": [], "open": [], "unsure": []}
    for one in comparisons:
        groups[_kind(one, control)].append(one)
    equal = groups["equal"][0].words if groups["equal"] else ""
    words = {
        "better": f"better than {control}: {{names}}",
        "worse": "worse: {names}" if groups["better"] else f"worse than {control}: {{names}}",
        "equal": f"{equal}: {{names}}",
        "open": f"no difference shown: {{names}}{_possible(groups['open'])}",
        "unsure": "not enough seeds: {names}",
    }
    parts = [
        words[kind].format(names=_listed([one.b if one.a == control else one.a for one in pairs]))
        for kind, pairs in groups.items()
        if pairs
    ]
    named = groups["better"] or groups["worse"]
    text = "; ".join(parts) if named else f"against {control}: {'; '.join(parts)}"
    return _ended(f"{text[0].upper()}{text[1:]}", count or len(comparisons))


def _kind(one: Comparison, control: str) -> str:
    if one.better:
        return "worse" if one.better == control else "better"
    return "equal" if one.words.startswith(EQUAL) else "open" if one.words == NO_DIFFERENCE else "unsure"


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
        return [one for one in self.beside if one.words.startswith(NOT_ENOUGH)]

    @property
    def equal(self) -> bool:
        """Is every pair of close arms shown to be equal?"""
        return all(one.words.startswith(EQUAL) for one in self.among)

    @property
    def beside(self) -> list[Comparison]:
        """Those of the first with the other close arms."""
        return [one for one in self.among if self.first in (one.a, one.b)]

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
    if not standing.worse:
        return f"Not enough seeds to tell {standing.first} from {others}: {words}"
    return (
        f"{standing.first} is better than {_listed(standing.worse)}; not enough seeds to tell it from {others}: {words}"
    )


def _shared_and_better(standing: _Standing) -> str:
    number = "both" if len(standing.close) == 2 else "all"
    return f"{_share(standing)}; {number} are better than {_listed(standing.worse)}"


def _shared(standing: _Standing) -> str:
    return f"{_share(standing)}{_and_better(standing)}"


def _leads(standing: _Standing) -> str:
    others = _listed(standing.close[1:])
    open_pairs = [one for one in standing.beside if one.words == NO_DIFFERENCE]
    shown = f"no difference is shown between it and {others}{_possible(open_pairs)}"
    return f"{standing.first} leads, but {shown}{_and_better(standing)}"


def _share(standing: _Standing) -> str:
    return f"{_listed(standing.close)} share the lead: {standing.among[0].words}"


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
