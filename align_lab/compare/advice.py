"""What would tell two arms apart that are not yet told apart: for the prompts that were evaluated, and for others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from align_lab.compare.document import Bought, Pair, Precision, Verdict
from align_lab.compare.gaps import Measure
from align_lab.compare.verdict import MOST

SHORT = {"hours": "h", "minutes": "min", "seconds": "s"}
ENDED = ("hopeless", "most")  # what looks leave undecided


def advise(verdict: Verdict, precisions: Sequence[Precision], measure: Measure) -> Iterator[str]:
    """One sentence, of the pair for the lead that is not decided; the table of pairs has the numbers of all."""
    if measure.smallest is None or (pair := _for_the_lead(verdict["pairs"])) is None:
        return
    a, b, needed = pair["a"], pair["b"], pair["needed"] or 0
    if pair["low"] is None:
        least = seeds(needed).removeprefix("about ")
        yield f"To distinguish {a} from {b}, at least {least} are needed: one seed gives no interval."
        return
    known = {(one["a"], one["b"]): one for one in precisions}
    one = known.get((a, b))
    parts = [f"for these {one['prompts']} prompts {seeds(needed)}" if one else seeds(needed)]
    if one and one["seed_seconds"] is not None:
        parts.append(f"for others of their kind {bought(one)}")
    yield f"To see a gap of {measure.matters} between {a} and {b}: {'; '.join(parts)}."


def advise_anew(verdict: Verdict, precisions: Sequence[Precision], measure: Measure) -> Iterator[str]:
    """One sentence, of the first pair that ended without an answer: what a study of its own would take. A plan that has
    ended is not continued: that would be one more look, whose error nobody has counted.
    """
    known = {(one["a"], one["b"]): one for one in precisions if one["anew"] and one["seed_seconds"] is not None}
    pairs = [(pair["a"], pair["b"]) for pair in verdict["pairs"] if (pair["a"], pair["b"]) in known]
    if not pairs or measure.smallest is None:
        return
    leading = [pair for pair in pairs if pairs[0][0] in pair]
    gaps = {(pair["a"], pair["b"]): abs(pair["gap"]) for pair in verdict["pairs"]}
    a, b = nearest = min(leading, key=lambda pair: gaps[pair])
    yield f"To see a gap of {measure.matters} between {a} and {b} takes a study of its own: {anew(known[nearest])}."


def anew(one: Precision) -> str:
    """`26 seeds for each arm with 768 prompts in place of 384 (about 3 device-hours)`."""
    if (cheapest := one["cheapest"]) is None:
        return "no prompts, samples and seeds that were thought of would do"
    changed = evaluation(one, cheapest)
    each = f"about {cheapest['seeds']} seeds for each arm"
    return f"{each}{f' with {changed}' if changed else ''} (about {hours(cheapest['seconds'])})"


def _for_the_lead(pairs: Sequence[Pair]) -> Pair | None:
    """The nearest of the undecided pairs of the arm that leads; pairs stand in the order of their arms."""
    beaten = {worse for pair in pairs if (worse := _worse(pair))}
    undecided = [pair for pair in pairs if pair["needed"] is not None]
    unbeaten = [pair for pair in undecided if not {pair["a"], pair["b"]} & beaten] or undecided
    leading = [pair for pair in unbeaten if unbeaten[0]["a"] in (pair["a"], pair["b"])]
    return min(leading, key=lambda pair: abs(pair["gap"]), default=None)


def _worse(pair: Pair) -> str | None:
    low, high = pair["low"], pair["high"]
    if low is None or high is None:
        return None
    return pair["b"] if low > 0 else pair["a"] if high < 0 else None


def seeds(more: int) -> str:
    """`about 5 more seeds for each arm`"""
    if more > MOST:
        return f"more than {MOST} more seeds for each arm"
    return f"about {more} more {'seed' if more == 1 else 'seeds'} for each arm"


def bought(one: Precision) -> str:
    """The cheapest that shows the gap for other prompts as well: `96 prompts in place of 6 and about 2 more seeds for
    each arm (about 2 device-minutes)`.
    """
    if (cheapest := one["cheapest"]) is None:
        return "no more prompts, samples or seeds that were thought of would do"
    return f"{_and(evaluation(one, cheapest), cheapest)} (about {hours(cheapest['seconds'])})"


def _and(changed: str, cheapest: Bought) -> str:
    more = seeds(cheapest["seeds"]) if cheapest["seeds"] or not changed else ""
    return " and ".join(filter(None, (changed, more)))


def evaluation(one: Precision, cheapest: Bought) -> str:
    """`768 prompts in place of 48`; empty where the evaluation remains."""
    parts: list[str] = []
    if cheapest["prompts"] != one["prompts"]:
        parts.append(f"{cheapest['prompts']} prompts in place of {one['prompts']}")
    if cheapest["samples"] != one["samples"]:
        parts.append(f"{cheapest['samples']} samples a prompt in place of {one['samples']}")
    return " with ".join(parts)


def hours(seconds: float) -> str:
    """`1.5 device-hours`, `4 device-minutes`, `40 device-seconds`."""
    number, unit = _rounded(seconds)
    return f"{number} device-{unit}"


def short_time(seconds: float) -> str:
    """`1.5 h`, `4 min`, `40 s`, where a heading says whose time it is."""
    number, unit = _rounded(seconds)
    return f"{number}\u00a0{SHORT[unit]}"


def _rounded(seconds: float) -> tuple[str, str]:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f}", "hours"
    return (f"{seconds / 60:.0f}", "minutes") if seconds >= 120 else (f"{seconds:.0f}", "seconds")
