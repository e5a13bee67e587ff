"""Losses on preference pairs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from align_lab.equations.masks import masked_sum


def bradley_terry(chosen: Tensor, rejected: Tensor, *, margin: Tensor | float = 0.0) -> Tensor:
    """-log σ(r_w - r_l - m), the loss of a reward model on one comparison (Bradley and Terry 1952): [...] -> [...].

    The margin m is 0 in arXiv 2307.04964; in Llama 2 (arXiv 2307.09288, eq. 2) it grows with the strength of the
    annotator's preference.
    """
    return -F.logsigmoid(chosen - rejected - margin)


def squared_sum(chosen: Tensor, rejected: Tensor) -> Tensor:
    """(r_w + r_l)², which keeps a reward model's scores around 0 (arXiv 2312.09244): [...] -> [...].

    The loss of Bradley and Terry depends on differences alone, so that a constant could be added to all scores.
    """
    return (chosen + rejected).square()


def dpo(z: Tensor, *, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """-(1-ε) log σ(βz) - ε log σ(-βz), z = log-ratio of the chosen minus that of the rejected: [P] -> [P].

    DPO (arXiv 2305.18290, eq. 7). ε > 0 assumes that a fraction ε of labels is wrong (conservative DPO, Mitchell 2023).
    """
    return -(1 - label_smoothing) * F.logsigmoid(beta * z) - label_smoothing * F.logsigmoid(-beta * z)


def log_ratio_gap(logp: Tensor, logp_ref: Tensor, label: Tensor, mask: Tensor) -> Tensor:
    """z = Σ_g label_g Σₜ (log π - log π_ref), label +1 for the chosen, -1 for the rejected, 0 else: [P G T] -> [P]."""
    return masked_sum(label * (logp - logp_ref), mask).sum(-1)


def best_and_worst(score: Tensor) -> Tensor:
    """+1 for the (first) highest score of a group, -1 for the lowest, 0 for all others and for a tie of all: [P G]."""
    G = score.shape[-1]
    return (F.one_hot(score.argmax(-1), G) - F.one_hot(score.argmin(-1), G)).to(score)
