"""What the factors of a study say in words: the first sentence, and what a fraction of the cells mixes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from align_lab.compare import gaps
from align_lab.compare.document import Level
from align_lab.compare.factorial.model import Pair
from align_lab.compare.gaps import Measure
from align_lab.compare.values import figure, listed
from align_lab.compare.verdict import FEWEST, MOST

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
TIMES = " × "  # between the factors of an interaction

NOT_ESTIMABLE = "The cells that have run are too few to tell all main effects from each other."


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A factor: is it shown to matter, its share of the variance, the largest effect of a level that is shown, how
    large one may be that is not (None: the runs cannot tell), whether all lie within the gap that matters, and how many
    more seeds a cell it lacks.
    """

    name: str
    shown: bool
    share: float
    largest: Level | None
    possible: float | None
    equal: bool
    needed: int | None


def sentence(
    factors: Sequence[Standing], measure: Measure, *, tests: int, together: Sequence[str], unresolved: bool
) -> str:
    """Which choice matters most, and which is not shown to. measure: what effects are in, and the gap that matters;
    together: pairs of factors that are shown to act together; unresolved: something else is left between the cells.
    """
    telling = _Telling(measure)
    parts = [telling.leading(factors), *telling.others([one for one in factors if not one.shown])]
    parts += [f"what {' does depends on '.join(pair.split(TIMES))}" for pair in together[:1]]
    if len(together) > 1:
        parts[-1] += f", and {len(together) - 1} more pairs act together"
    if unresolved:
        parts.append("choices also act together, in ways that these cells cannot tell apart")
    corrected = f" (corrected for {tests} tests)" if tests > 1 else ""
    return f"{'; '.join(parts)}{corrected}."


class _Telling:
    """Makes the clauses in the order in which they are read: the first amount has its unit, the others do not."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._said = False

    def leading(self, factors: Sequence[Standing]) -> str:
        """Which choice matters most, and by how much."""
        shown = sorted((one for one in factors if one.shown), key=lambda one: -one.share)
        choices = f"Of {NUMBERS[len(factors)] if len(factors) < len(NUMBERS) else len(factors)} choices"
        if not shown:
            return f"{choices} none is shown to matter"
        first, *others = shown
        much = f"({_share(first)} of the variance{self._largest(first.largest)})"
        if not others:
            return f"{choices} {first.name} alone is shown to matter {much}"
        then = listed([f"{one.name} ({_share(one)})" for one in others], most=len(others))
        return f"{choices} {first.name} matters most {much}, then {then}"

    def _largest(self, level: Level | None) -> str:
        """`; none is better than k2_loss by 0.28 [0.21, 0.36]`"""
        if level is None or level["effect"] is None:
            return ""
        low, high = level["effect_low"], level["effect_high"]
        places = gaps.enough(gaps.places([gaps.half(low, high)]), low, high)
        if level["effect"] < 0 and low is not None and high is not None:
            low, high = -high, -low
        better, worse = level["words"].split(" > ")
        gap = self._amount(figure(abs(level["effect"]), places))
        return f"; {better} is better than {worse} by {gap} {gaps.bounds(low, high, places)}"

    def _amount(self, text: str) -> str:
        said, self._said = self._said, True
        return text if said else self._measure.amount(text)

    def others(self, rest: Sequence[Standing]) -> Iterator[str]:
        """What is said of the factors that are not shown to matter."""
        if unknown := [one.name for one in rest if one.possible is None]:
            yield f"the runs that have finished say nothing of {_all(unknown)}"
        known, smallest = [one for one in rest if one.possible is not None], self._measure.smallest
        if smallest is not None and (equal := [one.name for one in known if one.equal]):
            makes = "makes" if len(equal) == 1 else "make"
            yield f"{_all(equal)} {makes} no difference beyond ±{self._amount(f'{smallest:g}')}"
        unsure = [one for one in known if smallest is None or not one.equal]
        if not unsure:
            return
        names = _all([one.name for one in unsure])
        if smallest is None:
            most = self._amount(f"{max(one.possible or 0.0 for one in unsure):.2g}")
            yield f"no difference is shown for {names} (differences of up to {most} are not ruled out)"
        else:
            more = max(one.needed or 0 for one in unsure)
            count = f"about {more}" if more <= MOST else f"more than {MOST}"
            see = self._amount(f"{smallest:g}")
            yield f"not enough seeds for {names}: {count} more a cell would be needed to see {see}"


def _share(one: Standing) -> str:
    return "< 0.01" if one.share < 0.005 else f"{one.share:.2f}"


def _all(names: Sequence[str]) -> str:
    return listed(names, most=len(names))


def too_few(runs: int) -> str:
    """Where no cell has two runs."""
    return f"Not enough seeds: one seed gives no interval, at least {FEWEST - runs} more a cell would be needed."


def method(*, effects: int, tests: int) -> str:
    """How effects and factors are decided, for people."""
    return (
        f"Contrasts of the means of cells with Welch t intervals, Bonferroni-corrected over {effects} effects; F tests "
        f"that allow cells to vary unequally (Brunner, Dette and Munk 1997), corrected over {tests}"
    )


def aliases(mixed: Mapping[str, Sequence[Pair]], clear: Sequence[Pair], every: Sequence[Pair]) -> list[str]:
    """What these cells mix. mixed: factor -> interactions that shift its effects; clear: interactions that can be told;
    every: all interactions of two factors.
    """
    hidden = [TIMES.join(pair) for pair in every if pair not in clear]
    told = _all([TIMES.join(pair) for pair in clear]) if clear else ""
    if not hidden:
        rest = "Every interaction of two factors can be told."
    elif clear:
        rest = f"Of the interactions of two factors {told} can be told, and {_all(hidden)} cannot."
    else:
        rest = "No interaction of two factors can be told by itself."
    return [_main_effects(mixed, every), rest]


def _main_effects(mixed: Mapping[str, Sequence[Pair]], every: Sequence[Pair]) -> str:
    if not any(mixed.values()):
        others = ", and of what two others do together" if len(every) > 1 else ""
        return f"Main effects are clear of each other{others}."
    clear_of = "Main effects are clear of each other, but not of interactions"
    if all(len(pairs) == sum(factor not in pair for pair in every) for factor, pairs in mixed.items()):
        return f"{clear_of}: what stands for one factor may in part be what any two others do together."
    parts = [f"of {factor} may be {_either(pairs)}" for factor, pairs in mixed.items() if pairs]
    return f"{clear_of}: in part, what stands for an effect {', '.join(parts)}."


def _either(pairs: Sequence[Pair]) -> str:
    return " or ".join(TIMES.join(pair) for pair in pairs)
