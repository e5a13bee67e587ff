"""What the best of k trials is worth, and which fields matter, from the trials of one arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

Floats = NDArray[np.float64]
FEWEST = 6  # trials from which a quadratic is fitted


@dataclass(frozen=True)
class Parts:
    """Variances of scores [n, S] of trials and seeds, by the method of moments, and the degrees of freedom of `seeds`.

    trials: of the trials' own quality. seeds: what a seed does to all trials alike. rest: of one run beside both.
    """

    trials: float
    seeds: float
    rest: float
    freedom: int


def parts(scores: Floats, fresh: Sequence[float] = ()) -> Parts:
    """The parts of scores [n, S], n and S at least 2, or S = 1 with a part `rest` of 0.

    fresh: scores of one recipe with other seeds, one for each, whose variance is that of seeds and rest together.
    """
    n, count = scores.shape
    centered = scores - scores.mean()
    by_trial, by_seed = centered.mean(1), centered.mean(0)
    trials, rest, seeds = float((by_trial**2).sum()) / (n - 1), 0.0, 0.0
    if count > 1:
        left = centered - by_trial[:, None] - by_seed
        rest = float((left**2).sum()) / ((n - 1) * (count - 1))
        seeds = float((by_seed**2).sum()) / (count - 1) - rest / n
    freedom = count - 1
    if len(fresh) > 1:
        others = len(fresh) - 1
        seeds = (freedom * seeds + others * (float(np.var(fresh, ddof=1)) - rest)) / (freedom + others)
        freedom += others
    return Parts(trials=max(0.0, trials - rest / count), seeds=max(0.0, seeds), rest=rest, freedom=freedom)


def best_of(scores: Floats, k: int) -> Floats:
    """The score of the best of `k` trials that is chosen by all seeds but one, of scores [..., n, S]: [...].

    The expectation is over all subsets of k of the n trials (Tang et al. 2020, arXiv 2004.13705; Dodge et al. 2019,
    arXiv 1909.03004, with replacement). The seed that has not chosen judges, each in turn, so that choosing does not
    raise the score; a single seed does both, and it is optimistic.
    """
    n, seeds = scores.shape[-2:]
    ranks = np.array([comb(rank, k - 1) / comb(n, k) for rank in range(n)])  # that the trial of this rank is the best
    if seeds == 1:
        return np.sort(scores[..., 0], axis=-1) @ ranks
    total = scores.sum(-1, keepdims=True)
    judged = [
        np.take_along_axis(scores[..., j], np.argsort(total[..., 0] - scores[..., j], axis=-1, kind="stable"), -1)
        for j in range(seeds)
    ]
    return np.mean(judged, axis=0) @ ranks


def expected(scores: Floats, k: int) -> float:
    """The score, with seeds of its own, that is expected of the best of `k` trials, chosen by all S seeds as a tuning
    chooses, of scores [n, S].

    `best_of` chooses by S - 1 of them, and so gains less. Of normal scores the gain over the mean trial is proportional
    to the correlation of what chooses with the trial's quality; its ratio for S and S - 1 seeds scales the gain.
    """
    seeds, of_fewer, mean = scores.shape[1], float(best_of(scores, k)), float(scores.mean())
    if seeds == 1 or len(scores) < 2:
        return of_fewer
    one = parts(scores)
    by_all, by_fewer = one.trials + one.rest / seeds, one.trials + one.rest / (seeds - 1)
    return mean + (of_fewer - mean) * math.sqrt(by_fewer / by_all) if by_all > 0 else of_fewer


def interval(scores: Floats, k: int, fresh: Sequence[float] = ()) -> tuple[float, float, float]:
    """(`expected`, the ends of its 95 % interval) of scores [n, S], for other trials and other seeds.

    The variance over trials is the jackknife's, and at least what normal trials would have, as an extreme is seldom
    seen; the one over seeds is that of `parts`. Student's t, with the freedom of the sum by Satterthwaite. Measured
    coverage: docs/tuning.md. For k = n the jackknife's error is that of k = n - 1. No ends for fewer than 3 trials.
    """
    n, seeds = scores.shape
    estimate = expected(scores, k)
    if n < 3:
        return estimate, math.nan, math.nan
    left_out = np.array([expected(np.delete(scores, trial, axis=0), min(k, n - 1)) for trial in range(n)])
    jackknife = (n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum())
    of_trials = max(jackknife, float(scores.mean(1).var(ddof=1)) * (1 / n + _normal_maximum(k) ** 2 / (2 * (n - 1))))
    one = parts(scores, fresh)
    variance = of_trials + one.seeds / seeds
    if variance == 0:
        return estimate, estimate, estimate
    freedom = variance**2 / (of_trials**2 / (n - 1) + (one.seeds / seeds) ** 2 / max(1, one.freedom))
    reach = float(stdtrit(freedom, 0.975)) * math.sqrt(variance)
    return estimate, estimate - reach, estimate + reach


def _normal_maximum(k: int) -> float:
    """The mean of the largest of k standard normal numbers, approximately (Blom 1958)."""
    return float(ndtri((k - 0.375) / (k + 0.25))) if k > 1 else 0.0


def counts(n: int) -> list[int]:
    """1, 2, 4, ... and n."""
    return [*(2**i for i in range(n.bit_length()) if 2**i < n), n]


def sensitivity(points: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> dict[str, float]:
    """Field -> share of the variance of the scores that a quadratic in it explains, adjusted for its terms; at least 0.

    A field with positive values over a factor of ten counts by its logarithm, one with other than numbers not at all.
    """
    shares: dict[str, float] = {}
    for field in points[0] if len(points) >= FEWEST else ():
        values = [point[field] for point in points]
        if all(isinstance(value, int | float) for value in values) and len(set(values)) > 1:
            shares[field] = _explained(_scaled(np.array(values, dtype=float)), np.array(scores))
    return shares


def _scaled(values: Floats) -> Floats:
    logarithmic = values.min() > 0 and values.max() / values.min() >= 10
    return np.log(values) if logarithmic else values


def _explained(x: Floats, y: Floats) -> float:
    """Adjusted R² of y on 1, x, x² (fewer powers where x has only two values)."""
    degree = min(2, len(np.unique(x)) - 1)
    centered = (x - x.mean()) / x.std()
    residual = y - np.polyval(np.polyfit(centered, y, degree), centered)
    total, n = float(((y - y.mean()) ** 2).sum()), len(y)
    if total == 0:
        return 0.0
    return max(0.0, 1 - float((residual**2).sum()) / total * (n - 1) / (n - 1 - degree))
