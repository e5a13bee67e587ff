"""95 % intervals of a mean over held-out prompts, for as few prompts as an evaluation may have.

The unit is the prompt: the completions of one prompt are not independent draws, so a value is first averaged over them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit

DRAWS = 20_000
SEED = 0  # of the draws: the same values always have the same interval

Ends = tuple[float, float]


def bounded_mean(values: Sequence[float], *, confidence: float = 0.95) -> Ends:
    """The interval of the mean of values [P] that lie in [0, 1], one per prompt; (0, 1) without values.

    Where every value is 0 or 1 it is that of Clopper and Pearson (1934), which holds exactly at any P. Otherwise each
    end is a quantile of Σᵢ wᵢ xᵢ with w ~ Dirichlet(1, ..., 1) over the values and one more, 0 for the lower end and 1
    for the upper one (Learned-Miller and Thomas 2019, arXiv 1905.06208): the Bayesian bootstrap of Rubin (1981),
    widened by that one value. It equals Clopper and Pearson's for 0 and 1. That its coverage is at least nominal for
    every law on [0, 1] is conjectured there, and simulated in the tests; the normal approximation falls short by far
    at few prompts.
    """
    x, tail = np.asarray(values, dtype=float), (1 - confidence) / 2
    if not len(x):
        return 0.0, 1.0
    if np.isin(x, (0.0, 1.0)).all():
        return _clopper_pearson(int(x.sum()), len(x), tail)
    ends, counts = np.unique(np.append(x, (0.0, 1.0)), return_counts=True)
    counts[[0, -1]] -= 1
    return _quantile(ends, counts, 0, tail), _quantile(ends, counts, -1, 1 - tail)


def _clopper_pearson(successes: int, n: int, tail: float) -> Ends:
    low = float(betaincinv(successes, n - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return low, high


def _quantile(values: NDArray[np.float64], counts: NDArray[np.int64], end: int, share: float) -> float:
    """The quantile of the weighted mean of these values, the value at `end` counted once more.

    Equal values share one Gamma draw, so that the cost depends on how many different values there are.
    """
    shapes = counts.astype(float)
    shapes[end] += 1
    weights = np.random.default_rng(SEED).standard_gamma(shapes, size=(DRAWS, len(values)))
    return float(np.quantile(weights @ values / weights.sum(axis=1), share))


def unbounded_mean(values: Sequence[float], *, confidence: float = 0.95) -> Ends | None:
    """Student's t interval of the mean of values [P] of any size, one per prompt; None below two values.

    Its coverage is nominal for normal values, and close to that for scores whose law is not very skewed.
    """
    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        return None
    half = float(stdtrit(len(x) - 1, (1 + confidence) / 2) * x.std(ddof=1) / np.sqrt(len(x)))
    return float(x.mean()) - half, float(x.mean()) + half
