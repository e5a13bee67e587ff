"""What the arms of a seed have in common: where a seed also moves stages, its runs share builds, and it is a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from align_lab.base import vary
from align_lab.compare.builds import NAMES
from align_lab.compare.document import Pair
from align_lab.compare.summary import ArmRuns
from align_lab.compare.values import listed

FEWEST = 3  # common seeds, below which a correlation says nothing


def correlation(a: ArmRuns, b: ArmRuns) -> float | None:
    """Pearson's, of two arms' scores over the seeds that both have; None where they are few, or do not vary."""
    table = _common([a, b])
    if table.shape[1] < FEWEST or not (table.std(axis=1) > 0).all():
        return None
    return float(np.corrcoef(table)[0, 1])


def annotate(pairs: Sequence[Pair], arms: Sequence[ArmRuns]) -> None:
    """Put the correlation of each pair's arms into the document."""
    known = {arm.name: arm for arm in arms}
    for pair in pairs:
        if pair["a"] in known and pair["b"] in known:
            pair["correlation"] = correlation(known[pair["a"]], known[pair["b"]])


def shared(arms: Sequence[ArmRuns]) -> float | None:
    """The share of the variance over seeds that is common to the arms: the mean covariance of two arms over the mean
    variance of one, each over the seeds that both have; at least 0.

    With one run of an arm for each build that is all that tells builds from RL: what a build does for one arm more than
    for another stands with RL.
    """
    tables = [table for pair in combinations(arms, 2) if (table := _common(pair)).shape[1] >= FEWEST]
    moments = [np.cov(table) for table in tables]
    total = sum(float(np.trace(one)) / 2 for one in moments)
    if total <= 0:
        return None
    return min(1.0, max(0.0, sum(float(one[0, 1]) for one in moments) / total))


def _common(arms: Sequence[ArmRuns]) -> np.ndarray:
    """Scores [arms, seeds] over the seeds that all of them have."""
    by_seed: list[Mapping[int, float]] = [dict(zip(arm.seeds, arm.scores, strict=True)) for arm in arms]
    seeds = sorted(set.intersection(*(set(each) for each in by_seed)))
    return np.array([[each[seed] for seed in seeds] for each in by_seed]).reshape(len(arms), len(seeds))


def notes(pairs: Sequence[Pair], arms: Sequence[ArmRuns], *, paired: bool) -> Iterator[str]:
    """Whether seeds are blocks, what the arms of a seed have in common, and what follows for the intervals."""
    known = [pair["correlation"] for pair in pairs if pair["correlation"] is not None]
    names = [name for name in vary.WHAT if name in _varied(arms) and name != vary.RL]
    if not known or not (names or paired):
        return
    low, high = min(known), max(known)
    over = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
    have = f"Over seeds the scores of two arms have a correlation of {over}"
    because = f"the runs of a seed share its {listed([NAMES[name] for name in names])}" if names else "so it was asked"
    if not paired:
        yield (
            f"{because[0].upper()}{because[1:]}, but verdicts are not paired by seed. {have}: where it is above 0 "
            "intervals are too wide, and where it is below, too narrow."
        )
        return
    yield f"Verdicts compare the arms seed by seed, because {because}. {have}{_common_part(arms, names)}."


def _common_part(arms: Sequence[ArmRuns], names: Sequence[str]) -> str:
    if (share := shared(arms)) is None or not names:
        return ""
    return (
        f": {share:.0%} of the variance over seeds is common to the arms and cancels in their gaps; the rest is of RL, "
        "and of what a build does for one arm more than for another, which one run for each build cannot tell apart"
    )


def _varied(arms: Sequence[ArmRuns]) -> set[str]:
    return {name for arm in arms for run in arm.runs for name in vary.of(run.fields)}
