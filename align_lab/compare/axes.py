"""The same comparison at equal cost (episodes, tokens, labels, seconds, FLOPs) and at equal KL. Pure numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from align_lab.compare.curves import at, reached
from align_lab.compare.document import Axis, Flip, Ranked
from align_lab.compare.evaluations import AXES, Table
from align_lab.compare.statistics import t_interval, welch_interval
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


def compared(arms: Mapping[str, Table], metric: str) -> list[Axis]:
    """`axes` of the document for arms [R, E, C]: scores where every run has come to the same x, and who changes places.

    Nothing for one arm.
    """
    if len(arms) < 2:
        return []
    at_equal = {axis: _at_equal(axis, arms, metric) for axis in AXES}
    usual = ranked(at_equal["episode"][1]) if at_equal["episode"][1] else []
    return [_ranking(axis, x, values, usual) for axis, (x, values) in at_equal.items()]


def _at_equal(axis: str, arms: Mapping[str, Table], metric: str) -> tuple[float, dict[str, list[float]]]:
    """The largest x that every run of every arm reaches, and the scores there; none where a run does not record x."""
    places = {arm: table[AXES[axis]] for arm, table in arms.items()}
    if any(np.isnan(x[:, 0]).any() for x in places.values()):
        return float("nan"), {}
    x = min(float(reached(place)[:, -1].min()) for place in places.values())
    if x <= max(float(place[:, 0].max()) for place in places.values()):
        return float("nan"), {}
    scores = {arm: _scores(places[arm], table, metric, x) for arm, table in arms.items()}
    return x, {arm: values for arm, values in scores.items() if values}


def _scores(places: np.ndarray, table: Table, metric: str, x: float) -> list[float]:
    """Scores of an arm's runs at x, without those that have a gap there."""
    values = at(places, table.select([metric]), np.array([x]))[:, 0, 0]
    return values[np.isfinite(values)].tolist()


def _ranking(axis: str, x: float, values: Mapping[str, Sequence[float]], usual: Sequence[str]) -> Axis:
    order = ranked(values)
    flips = [_flip(a, b, values) for a, b in combinations(usual, 2) if a in values and order.index(b) < order.index(a)]
    return {
        "axis": axis,
        "at": number(x),
        "unit": UNITS[axis],
        "ranking": [_ranked(arm, values[arm]) for arm in order],
        "flips": flips,
        "words": _words(axis, x, order, usual, flips),
    }


def _ranked(arm: str, values: Sequence[float]) -> Ranked:
    mean = t_interval(values)
    return {"arm": arm, "mean": mean.mean, "low": number(mean.low), "high": number(mean.high), "n": len(values)}


def _flip(behind: str, ahead: str, values: Mapping[str, Sequence[float]]) -> Flip:
    """`shown`: by more than the seeds vary (95 % Welch interval of this pair, uncorrected)."""
    return {"ahead": ahead, "behind": behind, "shown": bool(welch_interval(values[ahead], values[behind]).low > 0)}


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
