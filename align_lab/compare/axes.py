"""The same comparison at equal cost (episodes, tokens, labels, seconds, FLOPs) and at equal KL. Pure numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from align_lab.compare.curves import at, reached
from align_lab.compare.document import Axis, Flip, Ranked
from align_lab.compare.evaluations import AXES, Table
from align_lab.compare.statistics import paired_interval, t_interval, welch_interval
from align_lab.compare.values import amount, listed, number
from align_lab.compare.verdict import ranked

UNITS = {  # as metrics.py has them, in words that fit behind a number
    "episode": "completions charged",
    "tokens": "generated tokens",
    "labels": "labels charged",
    "seconds": "device-seconds of training",
    "flops": "training FLOPs",
    "kl": "nats of KL a sequence",
}


BySeed = Mapping[int, float]


def compared(
    arms: Mapping[str, Table], metric: str, seeds: Mapping[str, Sequence[int]], *, paired: bool = False
) -> list[Axis]:
    """`axes` of the document for arms [R, E, C]: scores where every run has come to the same x, and who changes places.

    seeds: of the runs of each arm. Nothing for one arm.
    """
    if len(arms) < 2:
        return []
    equal = {axis: at_equal(axis, arms, metric, seeds) for axis in AXES}
    usual = ranked(_lists(equal["episode"][1])) if equal["episode"][1] else []
    return [_ranking(axis, x, values, usual, paired=paired) for axis, (x, values) in equal.items()]


def _lists(values: Mapping[str, BySeed]) -> dict[str, list[float]]:
    return {arm: list(each.values()) for arm, each in values.items()}


def at_equal(
    axis: str, arms: Mapping[str, Table], metric: str, seeds: Mapping[str, Sequence[int]]
) -> tuple[float, dict[str, BySeed]]:
    """The largest x that every run of every arm reaches, and the scores there; none where a run does not record x."""
    places = {arm: table[AXES[axis]] for arm, table in arms.items()}
    if any(np.isnan(x[:, 0]).any() for x in places.values()):
        return float("nan"), {}
    x = min(float(reached(place)[:, -1].min()) for place in places.values())
    if x <= max(float(place[:, 0].max()) for place in places.values()):
        return float("nan"), {}
    scores = {arm: _scores(places[arm], table, metric, x, seeds[arm]) for arm, table in arms.items()}
    return x, {arm: values for arm, values in scores.items() if values}


def _scores(places: np.ndarray, table: Table, metric: str, x: float, seeds: Sequence[int]) -> BySeed:
    """Scores of an arm's runs at x by seed, without those that have a gap there."""
    values = at(places, table.select([metric]), np.array([x]))[:, 0, 0].tolist()
    return {seed: value for seed, value in zip(seeds, values, strict=True) if np.isfinite(value)}


def _ranking(axis: str, x: float, values: Mapping[str, BySeed], usual: Sequence[str], *, paired: bool) -> Axis:
    order = ranked(_lists(values))
    flips = [
        _flip(values, ahead=b, behind=a, paired=paired)
        for a, b in combinations(usual, 2)
        if a in values and order.index(b) < order.index(a)
    ]
    return {
        "axis": axis,
        "at": number(x),
        "unit": UNITS[axis],
        "ranking": [_ranked(arm, [*values[arm].values()]) for arm in order],
        "flips": flips,
        "words": _words(axis, x, order, usual, flips),
    }


def _ranked(arm: str, values: Sequence[float]) -> Ranked:
    mean = t_interval(values)
    return {"arm": arm, "mean": mean.mean, "low": number(mean.low), "high": number(mean.high), "n": len(values)}


def _flip(values: Mapping[str, BySeed], *, ahead: str, behind: str, paired: bool) -> Flip:
    """`shown`: by more than the seeds vary (95 % interval of this pair, uncorrected)."""
    first, second = values[ahead], values[behind]
    if paired:
        shared = [seed for seed in first if seed in second]
        low = paired_interval([first[seed] for seed in shared], [second[seed] for seed in shared]).low if shared else 0
    else:
        low = welch_interval(list(first.values()), list(second.values())).low
    return {"ahead": ahead, "behind": behind, "shown": bool(low > 0)}


def _words(axis: str, x: float, order: Sequence[str], usual: Sequence[str], flips: Sequence[Flip]) -> str:
    if not order:
        return f"Not compared at equal {UNITS[axis]}: a run did not record them, or never left its start."
    leads = f"At {amount(x)} {UNITS[axis]} {order[0]} leads"
    if axis == "episode" or not usual:
        return f"{leads}."
    leads += ", as at equal episodes" if order[0] == usual[0] else f", not {usual[0]} as at equal episodes"
    if flips:
        return f"{leads}; {_flips_in_words(flips)}."
    return f"{leads}, and the others follow in the same order." if len(order) > 2 else f"{leads}."


def _flips_in_words(flips: Sequence[Flip]) -> str:
    sure = [f"{flip['ahead']} is now ahead of {flip['behind']}" for flip in flips if flip["shown"]]
    beyond = f"{len(sure)} by more than the seeds vary: {listed(sure)}" if sure else "none by more than the seeds vary"
    return f"{len(flips)} {'pair changes' if len(flips) == 1 else 'pairs change'} places, {beyond}"
