"""Arms in numbers: every metric of the last evaluation over the seeds, and every pair of arms under the one that
decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from align_lab.compare import document as documents
from align_lab.compare import many, verdict
from align_lab.compare.asked import Asked, pairs_of
from align_lab.compare.document import Improvement, Pair, Spread, Summary, Verdict
from align_lab.compare.evaluations import Floats
from align_lab.compare.gaps import Measure
from align_lab.compare.headline import sentence
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
class ArmRuns:
    """One arm: its runs by seed, and the metric that decides."""

    name: str
    runs: Sequence[Run]
    metric: str

    @property
    def scores(self) -> list[float]:
        """The deciding score of each run at its end."""
        return [float(run.rows[self.metric][-1]) for run in self.runs]

    @property
    def seeds(self) -> list[int]:
        """The seed of each run."""
        return [run.seed for run in self.runs]


def ranked(groups: Mapping[str, Sequence[Run]], metric: str) -> list[ArmRuns]:
    """Arms, the highest mean score first."""
    arms = {name: ArmRuns(name=name, runs=runs, metric=metric) for name, runs in groups.items()}
    return [arms[name] for name in verdict.ranked({name: arm.scores for name, arm in arms.items()})]


def described(arm: ArmRuns, *, rng_seed: int, draw: bool) -> documents.Arm:
    """An entry of `arms`. Without `draw`, the IQM's interval is left out."""
    columns = arm.runs[0].rows.columns
    start, end = (np.stack([run.rows.values[at] for run in arm.runs]) for at in (0, -1))  # [R, C]

    def summary(metric: str) -> Summary:
        place = columns.places[metric]
        spread = over_seeds(end[:, place], (arm.name, metric), rng_seed=rng_seed, draw=draw)
        return {"start": _mean(start[:, place]), **spread}

    return {
        "name": arm.name,
        "algo": arm.runs[0].algo,
        "n": len(arm.runs),
        "seeds": arm.seeds,
        "runs": [run.name for run in arm.runs],
        "metrics": {metric: summary(metric) for metric in columns.evaluated},
    }


def over_seeds(values: Floats, purpose: tuple[str, str], *, rng_seed: int, draw: bool) -> Spread:
    """Values [n] with mean, sd, t interval and IQM; without `draw`, the IQM's interval is left out."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {
            "values": [None] * len(values), "mean": None, "sd": None, "low": None, "high": None,
            "iqm": None, "iqm_low": None, "iqm_high": None,
        }  # fmt: skip
    mean = t_interval(known)
    middle = Interval(iqm(known), math.nan, math.nan)
    if draw and len(known) < many.MANY:
        middle = iqm_interval(known, generator(rng_seed, "iqm", *purpose), draws=DRAWS)
    elif draw:
        middle = many.iqm_interval(known)
    return {
        "values": [number(value) for value in values.tolist()],
        "mean": mean.mean,
        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "low": number(mean.low),
        "high": number(mean.high),
        "iqm": middle.mean,
        "iqm_low": number(middle.low),
        "iqm_high": number(middle.high),
    }


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def decided(arms: Sequence[ArmRuns], asked: Asked, *, pairs: int, measure: Measure) -> Verdict:
    """`verdict` of the document.

    Arms are compared by their means (Welch), or, where the question is paired, by the differences at the seeds that
    both have: narrower only if a seed moves arms alike, as it does where it also moves the stages that they share, and
    at half the freedom (docs/seeds.md).

    `pairs` counts those of all arms, also where only the best are given here: they were chosen by their scores, so each
    is still decided at 1 - (1 - confidence)/pairs. Only the pairs that are asked for are decided.
    """
    scores = {arm.name: arm.scores for arm in arms}
    seeds = {arm.name: arm.seeds for arm in arms}
    paired = bool(asked.paired)
    here = len(pairs_of(list(scores), asked.control, asked.contrasts))
    confidence = 1 - (1 - CONFIDENCE) * here / pairs if here else CONFIDENCE
    comparisons = verdict.verdicts(
        scores,
        seeds=seeds,
        paired=paired,
        confidence=confidence,
        smallest=asked.smallest,
        control=asked.control,
        contrasts=asked.contrasts,
    )
    return {
        "sentence": sentence(asked, comparisons, scores, corrected=pairs, measure=measure),
        "method": verdict.method(paired=paired, control=asked.control, contrasts=len(asked.contrasts), pairs=pairs),
        "confidence": CONFIDENCE,
        "smallest": asked.smallest,
        "paired": paired,
        "contrasts": [list(one) for one in asked.contrasts],
        "warnings": [],
        "pairs": [pair(one, pairs / here) for one in comparisons],
    }


def pair(one: verdict.Comparison, raised: float = 1.0) -> Pair:
    """An entry of `pairs`. `raised`: how many times more pairs there are than were compared, for p."""
    p = number(one.p)
    return {
        "a": one.a,
        "b": one.b,
        "gap": one.gap.mean,
        "low": number(one.gap.low),
        "high": number(one.gap.high),
        "p": p and min(1.0, p * raised),
        "correlation": None,
        "words": one.words,
        "needed": one.needed,
    }


def undecided(text: str) -> Verdict:
    """`verdict` where nothing may be compared."""
    return answered(text, verdict.method(), None)


def answered(text: str, method: str, smallest: float | None) -> Verdict:
    """`verdict` with an answer that no pair of arms has given."""
    return {
        "sentence": text,
        "method": method,
        "confidence": CONFIDENCE,
        "smallest": smallest,
        "paired": False,
        "contrasts": [],
        "warnings": [],
        "pairs": [],
    }


def same_seeds(arms: Sequence[ArmRuns]) -> bool:
    """Have all of several arms the same seeds, and more than one?"""
    return len(arms) > 1 and all(arm.seeds == arms[0].seeds for arm in arms) and len(arms[0].seeds) > 1


def improvements(arms: Sequence[ArmRuns], rng_seed: int) -> list[Improvement]:
    """P(A > B) of each arm over each that is ranked below it: by seed where two arms share all theirs, for these saw
    equal prompts.
    """
    pairs = list(combinations(arms, 2))
    draws = min(DRAWS, max(500, PAIRS_DRAWS // max(1, len(pairs))))
    return [_improvement(a, b, rng_seed, draws) for a, b in pairs]


def _improvement(a: ArmRuns, b: ArmRuns, rng_seed: int, draws: int) -> Improvement:
    if same_seeds([a, b]):
        one = paired_improvement(a.scores, b.scores)
    elif min(len(a.runs), len(b.runs)) < many.MANY:
        rng = generator(rng_seed, "improvement", a.name, b.name)
        one = probability_of_improvement(a.scores, b.scores, rng, draws=draws)
    else:
        one = many.probability_of_improvement(a.scores, b.scores)
    return {"a": a.name, "b": b.name, "value": one.mean, "low": number(one.low), "high": number(one.high)}


def coverage(arms: Sequence[ArmRuns]) -> dict[str, float]:
    """Measured coverage of the nominal 95 % IQM interval at each number of seeds that occurs, or at the next smaller
    measured one.
    """
    counts = sorted({len(arm.runs) for arm in arms if len(arm.runs) > 1})
    return {str(n): IQM_COVERAGE[max(known for known in IQM_COVERAGE if known <= n)] for n in counts}
