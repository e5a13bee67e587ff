"""How well a reward model predicts which completion of a pair is preferred."""

from __future__ import annotations

import numpy as np

BINS = 10  # of equal width, between a confidence of 1/2 and 1


def pair_metrics(gap: np.ndarray) -> dict[str, float]:
    """Measures of the score of the chosen completion minus that of the rejected one, [N], N > 0.

    `accuracy`: share of pairs with a positive gap, a tie counts half; `log_loss`: mean of -log σ(gap), log 2 for a
    guess; `calibration_error`: of the confidence σ(|gap|), see `calibration_error`; `pairs`: N.
    """
    correct = (np.sign(gap) + 1) / 2
    confidence = 1 / (1 + np.exp(-np.abs(gap)))
    return {
        "accuracy": float(correct.mean()),
        "log_loss": float(np.logaddexp(0, -gap).mean()),
        "calibration_error": calibration_error(confidence, correct),
        "pairs": len(gap),
    }


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error: Σ_bins n_bin / N · |mean correct - mean confidence|, confidence [N] in [½, 1]."""
    bins = np.minimum(((confidence - 0.5) * 2 * BINS).astype(int), BINS - 1)
    gaps = np.zeros(BINS)
    np.add.at(gaps, bins, correct - confidence)
    return float(np.abs(gaps).sum() / len(confidence))
