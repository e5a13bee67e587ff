"""How well scores agree with people."""

from __future__ import annotations

import numpy as np


def pair_accuracy(scores: np.ndarray, means: np.ndarray, *, gap: float = 0.0) -> float:
    """Share of the pairs of different mean ratings, at least `gap` apart, that the scores order as people do; equal scores are half."""
    first, second = np.triu_indices(len(means), 1)
    rated = means[first] - means[second]
    told = np.sign(scores[first] - scores[second]) * np.sign(rated)
    return float(((told[(rated != 0) & (np.abs(rated) >= gap)] + 1) / 2).mean())
