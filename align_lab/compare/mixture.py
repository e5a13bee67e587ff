"""Scores over seeds that fall into two groups, as where some runs collapse: t intervals promise too much for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from align_lab.compare.values import listed

APART = {
    4: 0.931, 5: 0.842, 6: 0.764, 7: 0.700, 8: 0.650, 9: 0.609, 10: 0.575, 11: 0.550, 12: 0.528, 13: 0.509, 14: 0.491,
    15: 0.477, 16: 0.464, 17: 0.456, 18: 0.446, 19: 0.436, 20: 0.428, 21: 0.421, 22: 0.414, 23: 0.406, 24: 0.402,
    25: 0.395, 26: 0.389, 27: 0.386, 28: 0.382, 29: 0.378, 30: 0.375,
}  # fmt: skip
"""Values -> the largest distance between two neighbours, in shares of the range, that normal values exceed in one case
of a hundred: 400,000 draws each. Of arms in which one run of five collapses, every one is seen in which both kinds of
run are among the first five (tests/compare/test_mixture.py)."""

NEARLY = 0.75  # of the widest step: arms whose step is about as wide have it in common
BySeed = Mapping[int, float]
Group = tuple[int, ...]


def smaller_group(values: BySeed) -> Group:
    """The seeds of the smaller of two groups into which the values fall apart; none where they may be of one law.

    The widest gap between neighbours splits them. With three values or fewer nothing can be seen.
    """
    return _split(values)[0]


def _split(values: BySeed) -> tuple[Group, float]:
    """The smaller group, and how far the two are apart."""
    seeds = sorted(values, key=lambda seed: values[seed])
    ordered = np.array([values[seed] for seed in seeds])
    if len(seeds) < min(APART) or ordered[0] == ordered[-1]:
        return (), 0.0
    steps = np.diff(ordered)
    at, step = int(steps.argmax()) + 1, float(steps.max())
    if step / (ordered[-1] - ordered[0]) <= APART[min(len(seeds), max(APART))]:
        return (), 0.0
    return tuple(sorted(min(seeds[:at], seeds[at:], key=len))), step


def of_arms(values: Mapping[str, BySeed], *, paired: bool) -> dict[str, Group]:
    """Arm -> the smaller group of its seeds, where an arm falls into two.

    paired: what counts is how far a run is from the median of the other arms at its seed, so that a build with which
    all arms fail alike is none of it. Of several arms with one group, those that are farthest from the others have it:
    of two arms both.
    """
    shown = {arm: _beside(arm, values) for arm in values} if paired and len(values) > 1 else values
    splits = {arm: split for arm, each in shown.items() if (split := _split(each))[0]}
    if not paired:
        return {arm: group for arm, (group, _) in splits.items()}
    widest: dict[Group, float] = {}
    for group, step in splits.values():
        widest[group] = max(step, widest.get(group, 0.0))
    return {arm: group for arm, (group, step) in splits.items() if step >= NEARLY * widest[group]}


def _beside(arm: str, values: Mapping[str, BySeed]) -> dict[int, float]:
    others = [values[name] for name in values if name != arm]
    known = {seed: [each[seed] for each in others if seed in each] for seed in values[arm]}
    return {seed: values[arm][seed] - float(np.median(each)) for seed, each in known.items() if each}


def warnings(values: Mapping[str, BySeed], *, paired: bool) -> Iterator[str]:
    """A sentence beside the verdict where arms look so."""
    for seen in sentence(values, paired=paired):
        yield (
            f"{seen} Where few runs fail, the first seeds often show none that does: arms of equal means were called "
            "different in 42 % of simulated studies that began with 4 seeds, 28 % with 6, 10 % with 12: docs/seeds.md. "
            "Look at every seed, and begin with more: seeds.first=12."
        )


def sentence(values: Mapping[str, BySeed], *, paired: bool) -> Iterator[str]:
    """Which arms look so, and what that means."""
    found = of_arms(values, paired=paired)
    named = [
        f"{arm} ({_seeds(group)} far from its other {len(values[arm]) - len(group)})" for arm, group in found.items()
    ]
    if named:
        yield (
            f"The scores of {listed(named)} fall into two groups, as where runs collapse: the intervals do not hold "
            "for such scores."
        )


def _seeds(group: Sequence[int]) -> str:
    return f"seed {group[0]}" if len(group) == 1 else f"seeds {', '.join(map(str, group))}"


def unseen(runs: int, confidence: float = 0.95) -> float:
    """The largest share of failing runs of which so many runs show none with a probability of 1 - confidence.

    The upper limit of Clopper and Pearson 1934 for none of n: 1 - (1 - confidence)^(1/n).
    """
    return float(1 - (1 - confidence) ** (1 / runs))
