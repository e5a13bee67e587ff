"""The same comparison at equal cost: at equal episodes, tokens, seconds and FLOPs, and at equal KL. Pure numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from align_lab.compare.curves import at, reached
from align_lab.compare.evaluations import AXES, COLUMN, GOLD, Floats
from align_lab.compare.statistics import t_interval, welch_interval
from align_lab.compare.values import listed, number
from align_lab.compare.verdict import ranked

UNITS = {  # as metrics.py has them, in words that fit behind a number
    "episode": "completions charged",
    "tokens": "generated tokens",
    "seconds": "device-seconds of training",
    "flops": "training FLOPs",
    "kl": "nats of KL a sequence",
}


def compared(arms: Mapping[str, Floats]) -> list[dict[str, Any]]:
    """`axes` of the document for arms [R, E, C]: gold scores where every run has come to the same x, and who changes places.

    Nothing for one arm.
    """
    if len(arms) < 2:
        return []
    found = {axis: _at_equal(axis, arms) for axis in AXES}
    usual = ranked(found["episode"][1]) if found["episode"][1] else []
    return [_ranking(axis, x, values, usual) for axis, (x, values) in found.items()]


def _at_equal(axis: str, arms: Mapping[str, Floats]) -> tuple[float, dict[str, list[float]]]:
    """The largest x that every run of every arm reaches, and the gold scores there; none where a run does not record x."""
    places = {arm: x[:, :, COLUMN[AXES[axis]]] for arm, x in arms.items()}
    if any(np.isnan(x[:, 0]).any() for x in places.values()):
        return float("nan"), {}
    x = min(float(reached(place)[:, -1].min()) for place in places.values())
    if x <= max(float(place[:, 0].max()) for place in places.values()):
        return float("nan"), {}
    gold = {
        arm: at(places[arm], rows[:, :, [COLUMN[GOLD]]], np.array([x]))[:, 0, 0].tolist() for arm, rows in arms.items()
    }
    known = {arm: [value for value in values if number(value) is not None] for arm, values in gold.items()}
    return x, {arm: values for arm, values in known.items() if values}


def _ranking(axis: str, x: float, values: Mapping[str, Sequence[float]], usual: Sequence[str]) -> dict[str, Any]:
    order = ranked(values)
    flips = [_flip(a, b, values) for a, b in combinations(usual, 2) if a in values and order.index(b) < order.index(a)]
    intervals = {arm: t_interval(values[arm]) for arm in order}
    return {
        "axis": axis,
        "at": number(x),
        "unit": UNITS[axis],
        "ranking": [
            {
                "arm": arm,
                "mean": found.mean,
                "low": number(found.low),
                "high": number(found.high),
                "n": len(values[arm]),
            }
            for arm, found in intervals.items()
        ],
        "flips": flips,
        "words": _words(axis, x, order, usual, flips),
    }


def _flip(behind: str, ahead: str, values: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """`shown`: by more than the seeds vary (95 % Welch interval of this pair, uncorrected)."""
    return {"ahead": ahead, "behind": behind, "shown": bool(welch_interval(values[ahead], values[behind]).low > 0)}


def _words(axis: str, x: float, order: Sequence[str], usual: Sequence[str], flips: Sequence[Mapping[str, Any]]) -> str:
    if not order:
        return f"Not compared at equal {UNITS[axis]}: a run did not record them, or never left its start."
    said = f"At {x:,.0f}" if 1000 <= x < 1e9 else f"At {x:.3g}"
    said += f" {UNITS[axis]} {order[0]} leads"
    if axis == "episode" or not usual:
        return f"{said}."
    said += ", as at equal episodes" if order[0] == usual[0] else f", not {usual[0]} as at equal episodes"
    if not flips:
        return f"{said}, and the others follow in the same order." if len(order) > 2 else f"{said}."
    sure = [f"{flip['ahead']} is now ahead of {flip['behind']}" for flip in flips if flip["shown"]]
    beyond = f"{len(sure)} by more than the seeds vary: {listed(sure)}" if sure else "none by more than the seeds vary"
    return f"{said}; {len(flips)} {'pair changes' if len(flips) == 1 else 'pairs change'} places, {beyond}."
