"""The one sentence of a comparison: what is shown, with its size, and then what is not, as strong as the corrected
intervals of the pairs allow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from align_lab.compare.asked import Asked
from align_lab.compare.gaps import Measure
from align_lab.compare.headline_pairs import Telling
from align_lab.compare.standing import Standing, kind, standing
from align_lab.compare.values import listed
from align_lab.compare.verdict import Comparison, ranked

ALONE = "One arm only: nothing to compare it with."
NO_UNIT = Measure()
GROUPS = 2  # of arms that beat others, beside those that the leader beats, that are named; more are counted
NAMED = 3  # arms up to which each is named, with its gap to a control


def sentence(
    asked: Asked,
    comparisons: Sequence[Comparison],
    arms: Mapping[str, Sequence[float]],
    *,
    corrected: int = 0,
    measure: Measure = NO_UNIT,
) -> str:
    """The answer to what was asked. corrected: comparisons that count, where not all of them are here."""
    count = max(corrected, len(comparisons))
    if asked.contrasts:
        return headline_of_contrasts(asked, comparisons, count, measure=measure)
    if asked.control:
        return headline_against(asked.control, comparisons, count, measure=measure)
    return headline(comparisons, arms, count, measure=measure)


def headline(
    comparisons: Sequence[Comparison],
    arms: Mapping[str, Sequence[float]],
    count: int = 0,
    *,
    measure: Measure = NO_UNIT,
) -> str:
    """What the comparisons (of `verdicts`) show of these arms, who leads first; then from whom the leader is not
    distinguished.
    """
    names = ranked(arms)
    if len(names) < 2:
        return ALONE
    now, telling = standing(names, comparisons), Telling(comparisons, measure)
    parts = [*_shared(now, telling)] if now.shared else [*_shown(now, telling), *_open(now, telling)]
    return _ended(parts, names, comparisons, count)


def _ended(parts: Sequence[str], names: Sequence[str], comparisons: Sequence[Comparison], count: int) -> str:
    """One sentence with a capital, unless it begins with the name of an arm; for how many comparisons it holds."""
    text, count = "; ".join(parts), max(count, len(comparisons))
    text = text if text.startswith(tuple(names)) else f"{text[0].upper()}{text[1:]}"
    corrected = count > 1 and any(math.isfinite(one.gap.low) for one in comparisons)
    return f"{text} (corrected for {count} comparisons)." if corrected else f"{text}."


def _shared(now: Standing, telling: Telling) -> Iterator[str]:
    """All that are close to the leader are equal to it."""
    leaders, rest = [now.first, *now.close], now.beats[now.first]
    if len(now.names) == 2:
        yield telling.equal(now.beside[0])
        return
    yield f"{_all(leaders)} share the lead: {now.beside[0].words}{telling.unit()}"
    if now.all_beat_the_rest:
        others = _all(rest) if len(rest) <= NAMED else "every other arm"
        yield f"{'both' if len(leaders) == 2 else 'all'} are better than {others}"
    elif rest:
        yield f"{now.first} is better than {_all(rest)}"


def _shown(now: Standing, telling: Telling) -> Iterator[str]:
    """Whom the leader beats, and who else beats whom."""
    if losers := now.beats[now.first]:
        pairs = [one for name in losers if (one := now.pair(now.first, name))]
        yield telling.better([now.first], losers, pairs, of=_those(losers, now))
    groups = now.others
    named = groups if len(groups) <= GROUPS else [] if losers else groups[:GROUPS]
    for winners, beaten in named:
        pairs = [one for a in winners for b in beaten if (one := now.pair(a, b))]
        yield telling.better(winners, beaten, pairs, of=listed(beaten))
    if more := sum(len(winners) * len(beaten) for winners, beaten in groups if (winners, beaten) not in named):
        yield f"{more} more pairs are decided"


def _those(losers: Sequence[str], now: Standing) -> str:
    """The arms that the leader beats: every other arm, all but few, or some by name."""
    rest = [name for name in now.close if name not in losers]
    if not rest and len(losers) > 1:
        return "every other arm"
    return f"every other arm but {listed(rest)}" if len(rest) <= 2 and len(now.names) > 5 else listed(losers)


def _open(now: Standing, telling: Telling) -> Iterator[str]:
    """From whom the leader is not distinguished, and to whom it is equal."""
    by_kind: dict[str, list[Comparison]] = {"equal": [], "unsure": [], "open": []}
    for one in now.beside:
        by_kind[kind(one)].append(one)
    if by_kind["equal"]:
        yield telling.equals(now.first, by_kind["equal"])
    start = "which arm is best is inconclusive: " if now.others and not now.beats[now.first] else ""
    who = "it" if now.beats[now.first] and not now.others and not by_kind["equal"] else now.first
    for name in ("unsure", "open"):
        if pairs := by_kind[name]:
            everyone = len(pairs) == len(now.names) - 1 and len(pairs) > 1
            yield start + telling.untold(who, now.first, pairs, whom="any other arm" if everyone else "")
            start = ""


def _all(names: Sequence[str]) -> str:
    return listed(names, most=len(names))


def headline_of_contrasts(
    asked: Asked, comparisons: Sequence[Comparison], count: int = 0, *, measure: Measure = NO_UNIT
) -> str:
    """What became of each pair that the study asked for: those that are decided first, else in its order."""
    known = {frozenset((one.a, one.b)): one for one in comparisons}
    telling = Telling(comparisons, measure)
    places = ("better", "equal", "open", "unsure", "")
    found = [(known.get(frozenset(pair)), pair) for pair in asked.contrasts]
    found.sort(key=lambda item: places.index(kind(item[0]) if item[0] else ""))
    parts = [telling.of_pair(one) if one else f"{a} and {b}: not yet run" for one, (a, b) in found]
    names = [name for pair in asked.contrasts for name in pair]
    return _ended(parts, names, comparisons, max(count, len(parts)))


def headline_against(
    control: str, comparisons: Sequence[Comparison], count: int = 0, *, measure: Measure = NO_UNIT
) -> str:
    """One sentence on which arms differ from the control, which do not, and for which there are too few seeds."""
    if not comparisons:
        return ALONE
    groups: dict[str, list[Comparison]] = {"better": [], "worse": [], "equal": [], "open": [], "unsure": []}
    for one in comparisons:
        groups["worse" if one.better == control else kind(one)].append(one)
    telling = Telling(comparisons, measure)
    heads = {
        "better": f"better than {control}",
        "worse": "worse" if groups["better"] else f"worse than {control}",
        "equal": groups["equal"][0].words + telling.unit() if groups["equal"] else "",
        "open": "no difference shown",
        "unsure": "not enough seeds",
    }
    parts = [f"{heads[name]}: {_against(control, pairs, telling)}" for name, pairs in groups.items() if pairs]
    if not (groups["better"] or groups["worse"]):
        parts[0] = f"against {control}: {parts[0]}"
    return _ended(parts, [], comparisons, count)


def _against(control: str, pairs: Sequence[Comparison], telling: Telling) -> str:
    """The other arms of these pairs, each with its gap where they are few."""
    others = [one.b if one.a == control else one.a for one in pairs]
    if len(pairs) > NAMED:
        return _all(others)
    by = "by" if pairs[0].better else "gap"
    return _all([f"{name} ({by} {telling.gap(one)})" for name, one in zip(others, pairs, strict=True)])
