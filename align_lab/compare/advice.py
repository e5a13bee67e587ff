"""The cheapest next purchase in words: in place of "so many more seeds" where something else is cheaper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from align_lab.compare.document import Bought, Precision, Verdict
from align_lab.compare.verdict import MOST, NOT_ENOUGH


def advise(verdict: Verdict, precisions: Sequence[Precision]) -> Iterator[str]:
    """Put the advice into the words of pairs that lack something; yield it for the pair that the sentence quotes,
    where it does not stand in the way of the answer.
    """
    known = {(one["a"], one["b"]): one for one in precisions}
    if (smallest := verdict["smallest"]) is None:
        return
    for pair in verdict["pairs"]:
        one = known.get((pair["a"], pair["b"]))
        if one is None or one["seed_seconds"] is None or not pair["words"].startswith(NOT_ENOUGH):
            continue
        before = pair["words"].removeprefix(NOT_ENOUGH)
        after = words(one, smallest)
        pair["words"] = NOT_ENOUGH + after
        if f": {before}" in verdict["sentence"]:
            verdict["sentence"] = verdict["sentence"].replace(f": {before}", "", 1)
            yield f"To tell {pair['a']} from {pair['b']}, {after}."


def words(one: Precision, smallest: float) -> str:
    """`the cheapest way to see 0.1 is 768 prompts in place of 48 (about 4 device-minutes; ...)`."""
    see, alone, bought = f"see {smallest:g}", one["seeds_alone"], one["cheapest"]
    never = f"at {one['prompts']} prompts even {MOST} more would not show it"
    if bought is None:
        return f"no purchase that was thought of would {see}: {never}"
    evaluation = _evaluation(one, bought)
    if not evaluation:
        return f"about {bought['seeds']} more would be needed to {see}, the cheapest way ({_cost(bought)})"
    also = f" and {bought['seeds']} more {'seed' if bought['seeds'] == 1 else 'seeds'}" if bought["seeds"] else ""
    seeds = never if alone is None else f"seeds alone: about {alone['seeds']} more, {hours(alone['seconds'])}"
    return f"the cheapest way to {see} is {evaluation}{also} ({_cost(bought)}; {seeds})"


def _evaluation(one: Precision, bought: Bought) -> str:
    """`768 prompts in place of 48`; empty where the evaluation remains."""
    parts: list[str] = []
    if bought["prompts"] != one["prompts"]:
        parts.append(f"{bought['prompts']} prompts in place of {one['prompts']}")
    if bought["samples"] != one["samples"]:
        parts.append(f"{bought['samples']} samples a prompt in place of {one['samples']}")
    return " with ".join(parts)


def _cost(bought: Bought) -> str:
    return f"about {hours(bought['seconds'])}"


def hours(seconds: float) -> str:
    """`1.5 device-hours`, `4 device-minutes`, `40 device-seconds`."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} device-hours"
    return f"{seconds / 60:.0f} device-minutes" if seconds >= 120 else f"{seconds:.0f} device-seconds"
