"""Whether the order of the arms depends on how many trials each of them got."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from align_lab.compare.document_tuning import Expected, Flip, TunedArm
from align_lab.compare.values import listed

SHOWN = 3  # pairs that are named in the sentence


def leaders(arms: Sequence[TunedArm]) -> dict[str, str]:
    """Number of trials, as a text -> the arm whose best of so many trials is expected to score highest."""
    places = range(len(arms[0]["expected"]))
    best = [max(arms, key=lambda arm: arm["expected"][place]["mean"]) for place in places]
    return {str(one["expected"][place]["trials"]): one["arm"] for place, one in zip(places, best, strict=True)}


def flips(arms: Sequence[TunedArm]) -> list[Flip]:
    """Every pair of arms that is in one order after some numbers of trials and in the other after others, the largest
    change first. `a` is the arm that is ahead with the fewest trials.
    """
    found = [flip for a, b in combinations(arms, 2) if (flip := _flip(a, b))]
    return sorted(found, key=lambda flip: (not flip["clear"], -flip["change"]))


def _flip(a: TunedArm, b: TunedArm) -> Flip | None:
    """None where one of the two is never behind the other."""
    both = list(zip(a["expected"], b["expected"], strict=True))
    gaps = {first["trials"]: first["mean"] - second["mean"] for first, second in both}
    ahead, behind = [k for k, gap in gaps.items() if gap > 0], [k for k, gap in gaps.items() if gap < 0]
    if not ahead or not behind:
        return None
    if behind[0] < ahead[0]:
        a, b, ahead, behind = b, a, behind, ahead
    apart = [first["mean"] > second["mean"] for first, second in both if _apart(first, second)]
    return {
        "a": a["arm"],
        "b": b["arm"],
        "a_ahead": ahead,
        "b_ahead": behind,
        "change": max(gaps.values()) - min(gaps.values()),
        "clear": len(set(apart)) == 2,
    }


def _apart(first: Expected, second: Expected) -> bool:
    """Do the two intervals have no number in common?"""
    lows, highs = (first["low"], second["low"]), (first["high"], second["high"])
    if None in (*lows, *highs):
        return False
    return first["low"] > second["high"] or second["low"] > first["high"]  # type: ignore[operator]


def sentence(arms: Sequence[TunedArm], changed: Sequence[Flip]) -> str:
    """What is said in the first sentence of a comparison: nothing, where no two arms change places."""
    if not changed:
        return ""
    clear = sum(flip["clear"] for flip in changed)
    sure = f"{clear or 'no'} {'changes are' if clear > 1 else 'change is'} larger than the intervals"
    listed_changes = "; ".join(_changes(arms, changed))
    return f"The order depends on the tuning: of the best of so many trials, {listed_changes}; {sure}."


def _changes(arms: Sequence[TunedArm], changed: Sequence[Flip]) -> Iterator[str]:
    """Who leads, where that changes, then the pairs that change places, the largest changes first."""
    spans: dict[str, list[str]] = {}
    for count, arm in leaders(arms).items():
        spans.setdefault(arm, []).append(count)
    if len(spans) > 1:
        yield f"the highest mean has {'; '.join(f'{arm} at {listed(counts)}' for arm, counts in spans.items())}"
    others = [flip for flip in changed if not {flip["a"], flip["b"]} <= spans.keys() or len(spans) == 1]
    for flip in others[:SHOWN]:
        ahead, behind = (listed([str(count) for count in flip[side]]) for side in ("a_ahead", "b_ahead"))
        yield f"{flip['a']} is ahead of {flip['b']} at {ahead}, and behind at {behind}"
    if (more := len(others) - SHOWN) > 0:
        yield f"{more} more {'pair changes' if more == 1 else 'pairs change'} places"
