"""What would show the gap worth seeing for the least device time: more seeds, more evaluation prompts, more samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from align_lab.compare.crossed import Parts
from align_lab.compare.statistics import Floats
from align_lab.compare.verdict import MOST, POWER

DOUBLINGS = 4  # of the prompts, and of the samples a prompt, that are thought of


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Device-seconds, of both arms together: of one further seed with its evaluation, of one evaluated completion."""

    run: float
    completion: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be shown, and what there is to buy. `most_prompts`: as many as the evaluation set holds, if known.

    anew: all seeds are bought, in a study of its own, and not further ones of this study.
    """

    smallest: float
    confidence: float
    samples: int
    most_prompts: int | None
    costs: Costs
    anew: bool = False


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """Further seeds an arm, or all of a study of its own; prompts and samples a prompt of an evaluation of all runs;
    what it costs in device-seconds.

    half: the half-width of the interval over seeds and prompts that it is expected to leave.
    """

    seeds: int
    prompts: int
    samples: int
    seconds: float
    half: float


def cheapest(parts: Parts, plan: Plan) -> Purchase | None:
    """Of all that show a gap of `smallest`, over seeds and prompts, with a power of POWER; None where nothing does."""
    found = [one for prompts, samples in _evaluations(parts, plan) if (one := _with(parts, plan, prompts, samples))]
    return min(found, key=lambda one: one.seconds, default=None)


def seeds_alone(parts: Parts, plan: Plan) -> Purchase | None:
    """With the evaluation as it is; None where MOST further seeds would not do."""
    return _with(parts, plan, parts.number, plan.samples)


def _evaluations(parts: Parts, plan: Plan) -> Iterator[tuple[int, int]]:
    """Prompts and samples a prompt. Samples are only thought of where it is known what they average out."""
    most = plan.most_prompts or parts.number << DOUBLINGS
    prompts = {min(parts.number << power, max(most, parts.number)) for power in range(DOUBLINGS + 1)}
    known = not any(math.isnan(part) for part in parts.within)
    for number in sorted(prompts):
        for power in range(DOUBLINGS + 1 if known else 1):
            yield number, plan.samples << power


def _with(parts: Parts, plan: Plan, prompts: int, samples: int) -> Purchase | None:
    """The fewest further seeds at this evaluation."""
    n = min(parts.runs)
    more = np.arange(MOST + 1, dtype=float)
    half, needed = expected(parts, more, prompts=prompts, times=samples / plan.samples, confidence=plan.confidence)
    enough = np.flatnonzero(needed <= plan.smallest)
    if not len(enough):
        return None
    first = int(enough[0])
    completions, before = prompts * samples, parts.number * plan.samples
    bought = n + first if plan.anew else first
    again = n * completions if completions != before and not plan.anew else 0
    seconds = bought * plan.costs.run + plan.costs.completion * (again + bought * (completions - before))
    return Purchase(seeds=bought, prompts=prompts, samples=samples, seconds=seconds, half=float(half[first]))


def expected(parts: Parts, more: Floats, *, prompts: int, times: float, confidence: float) -> tuple[Floats, Floats]:
    """Half-width of the interval of `crossed.interval`, and the gap that it shows with POWER, for each number of
    further seeds an arm, at `prompts` prompts and `times` as many samples a prompt.
    """
    cells = [part - (0.0 if math.isnan(own) else own) * (1 - 1 / times)
             for part, own in zip(parts.cells, parts.within, strict=True)]  # fmt: skip
    counts = [n + more for n in parts.runs]
    over = list(zip(parts.seeds, cells, counts, strict=True))
    seeds = [((own + cell / prompts) / n, n - 1) for own, cell, n in over]
    both = [(-cell / (n * prompts), (n - 1) * (prompts - 1)) for _, cell, n in over]
    between = (parts.prompts / prompts - sum(part for part, _ in both), prompts - 1)
    variance = parts.prompts / prompts + sum(part for part, _ in seeds)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in (*seeds, between, *both))
    freedom = np.maximum(freedom, min(parts.runs) + more - 1)
    alone = sum(part for part, _ in seeds)
    welch = alone**2 / sum(part**2 / degrees for part, degrees in seeds)
    half, narrow = [stdtrit(nu, (1 + confidence) / 2) * np.sqrt(v) for nu, v in ((freedom, variance), (welch, alone))]
    half = np.maximum(half, narrow)
    return half, half + stdtrit(freedom, POWER) * np.sqrt(variance)
