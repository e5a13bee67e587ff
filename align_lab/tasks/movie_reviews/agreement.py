"""How well scores agree with people."""

from __future__ import annotations

import numpy as np


def pair_accuracy(scores: np.ndarray, means: np.ndarray, *, gap: float = 0.0) -> float:
    """Share of pairs that scores [N] order as mean ratings [N] do, of those whose means differ, by at least `gap`.

    A pair of equal scores counts half.
    """
    first, second = np.triu_indices(len(means), 1)
    rated = means[first] - means[second]
    agreement = np.sign(scores[first] - scores[second]) * np.sign(rated)
    return float(((agreement[(rated != 0) & (np.abs(rated) >= gap)] + 1) / 2).mean())
