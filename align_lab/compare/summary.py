"""Arms in numbers: every metric of the last evaluation over the seeds, and every pair of arms under the gold score. Pure numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from align_lab.compare import many, verdict
from align_lab.compare.evaluations import COLUMN, GOLD, JUDGED
from align_lab.compare.runs import Run
from align_lab.compare.statistics import (
    IQM_COVERAGE,
    Interval,
    iqm,
    iqm_interval,
    paired_improvement,
    probability_of_improvement,
    t_interval,
)
from align_lab.compare.values import generator, number

CONFIDENCE = 0.95
DRAWS = 2000
PAIRS_DRAWS = 20_000  # of all pairs together: 24 arms have 276


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm: its runs by seed, the best gold score on average first among arms."""

    name: str
    runs: Sequence[Run]

    @property
    def gold(self) -> list[float]:
        return [float(run.rows[-1, COLUMN[GOLD]]) for run in self.runs]

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]


def ranked(groups: Mapping[str, Sequence[Run]]) -> list[Arm]:
    """Arms, the highest mean gold score first."""
    arms = {name: Arm(name=name, runs=runs) for name, runs in groups.items()}
    return [arms[name] for name in verdict.ranked({name: arm.gold for name, arm in arms.items()})]


def described(arm: Arm, *, rng_seed: int, draw: bool) -> dict[str, Any]:
    """An entry of `arms`. Without `draw`, the IQM's interval is left out."""
    start, end = (np.stack([run.rows[at] for run in arm.runs]) for at in (0, -1))  # [R, C]
    return {
        "name": arm.name,
        "algo": arm.runs[0].algo,
        "n": len(arm.runs),
        "seeds": arm.seeds,
        "runs": [run.name for run in arm.runs],
        "metrics": {
            metric: {"start": _mean(start[:, COLUMN[metric]].tolist())}
            | _metric(end[:, COLUMN[metric]].tolist(), (arm.name, metric), rng_seed=rng_seed, draw=draw)
            for metric in JUDGED
        },
    }


def _metric(values: list[float], purpose: tuple[str, str], *, rng_seed: int, draw: bool) -> dict[str, Any]:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return {"values": [None] * len(values)} | dict.fromkeys(
            ("mean", "sd", "low", "high", "iqm", "iqm_low", "iqm_high")
        )
    mean = t_interval(known)
    middle = Interval(iqm(known), math.nan, math.nan)
    if draw and len(known) < many.MANY:
        middle = iqm_interval(known, generator(rng_seed, "iqm", *purpose), draws=DRAWS)
    elif draw:
        middle = many.iqm_interval(known)
    return {
        "values": [number(value) for value in values],
        "mean": mean.mean,
        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "low": number(mean.low),
        "high": number(mean.high),
        "iqm": middle.mean,
        "iqm_low": number(middle.low),
        "iqm_high": number(middle.high),
    }


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else None


def decided(arms: Sequence[Arm], *, pairs: int, paired: bool = False) -> dict[str, Any]:
    """`verdict` of the document.

    Arms are compared by their means (Welch). `paired` compares them seed by seed where all have the same seeds: narrower only if
    a seed moves arms alike, which the default task's seeds hardly do (`docs/studies/five_algorithms.md`), and at half the freedom.

    `pairs` counts those of all arms, also where only the best are given here: they were chosen by their scores, so each is
    still decided at 1 - (1 - confidence)/pairs.
    """
    gold = {arm.name: arm.gold for arm in arms}
    seeds = {arm.name: arm.seeds for arm in arms}
    paired = paired and same_seeds(arms)
    here = len(arms) * (len(arms) - 1) // 2
    confidence = 1 - (1 - CONFIDENCE) * here / pairs if here else CONFIDENCE
    found = verdict.verdicts(gold, seeds=seeds, paired=paired, confidence=confidence)
    sentence = verdict.headline(found, gold)
    if pairs > here:
        sentence = sentence.replace(f"corrected for {here} comparisons", f"corrected for {pairs} comparisons")
    return {
        "sentence": sentence,
        "method": verdict.PAIRED_METHOD if paired else verdict.METHOD,
        "confidence": CONFIDENCE,
        "pairs": [_pair(one, pairs / here) for one in found],
    }


def _pair(one: verdict.Comparison, raised: float) -> dict[str, Any]:
    gap = {"gap": one.gap.mean, "low": number(one.gap.low), "high": number(one.gap.high)}
    p = number(one.p)
    return {"a": one.a, "b": one.b} | gap | {"p": p and min(1.0, p * raised), "words": one.words, "needed": one.needed}


def undecided(sentence: str) -> dict[str, Any]:
    """`verdict` where nothing may be compared."""
    return {"sentence": sentence, "method": verdict.METHOD, "confidence": CONFIDENCE, "pairs": []}


def same_seeds(arms: Sequence[Arm]) -> bool:
    return len(arms) > 1 and all(arm.seeds == arms[0].seeds for arm in arms) and len(arms[0].seeds) > 1


def improvements(arms: Sequence[Arm], rng_seed: int) -> list[dict[str, Any]]:
    """P(A > B) of each arm over each that is ranked below it: by seed where two arms share all theirs, for these saw equal prompts."""
    pairs = list(combinations(arms, 2))
    draws = min(DRAWS, max(500, PAIRS_DRAWS // max(1, len(pairs))))
    found = []
    for a, b in pairs:
        if same_seeds([a, b]):
            one = paired_improvement(a.gold, b.gold)
        elif min(len(a.runs), len(b.runs)) < many.MANY:
            rng = generator(rng_seed, "improvement", a.name, b.name)
            one = probability_of_improvement(a.gold, b.gold, rng, draws=draws)
        else:
            one = many.probability_of_improvement(a.gold, b.gold)
        found.append({"a": a.name, "b": b.name, "value": one.mean, "low": number(one.low), "high": number(one.high)})
    return found


def coverage(arms: Sequence[Arm]) -> dict[str, float]:
    """Measured coverage of the nominal 95 % IQM interval at each number of seeds that occurs, or at the next smaller measured one."""
    counts = sorted({len(arm.runs) for arm in arms if len(arm.runs) > 1})
    return {str(n): IQM_COVERAGE[max(known for known in IQM_COVERAGE if known <= n)] for n in counts}
