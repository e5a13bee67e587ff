"""Losses on preference pairs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from align_lab.equations.masks import masked_sum, spread


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


def ipo(z: Tensor, *, beta: float) -> Tensor:
    """(z - 1/(2β))², whose minimum lies at the finite gap 1/(2β): [P] -> [P] (IPO, arXiv 2310.12036, eq. 17)."""
    return (z - 1 / (2 * beta)).square()


def hinge(margin: Tensor, *, delta: float = 1.0) -> Tensor:
    """max(0, δ - m), without gradient where the margin m of the chosen is δ or more: [P] -> [P]."""
    return F.relu(delta - margin)


def log_odds(mean_logp: Tensor) -> Tensor:
    """log p/(1-p), where log p is the mean log-probability of a completion's tokens: [...] -> [...] (ORPO, eq. 4).

    A completion that is certain has infinite odds, so log p is at most -1e-6.
    """
    log_p = mean_logp.clamp(max=-1e-6)
    return log_p - torch.log(-torch.expm1(log_p))


def kto(log_ratio: Tensor, label: Tensor, reference_point: Tensor, *, beta: float) -> Tensor:
    """1 - σ(β (r - z₀)) of a desirable completion (label +1), 1 - σ(β (z₀ - r)) of an undesirable one (-1).

    r is its log-ratio: [...] -> [...] (KTO, arXiv 2402.01306, eqs. 7 and 8, with λ_D = λ_U = 1).
    """
    return torch.sigmoid(-beta * label * (log_ratio - reference_point))


def log_ratio(logp: Tensor, logp_ref: Tensor, mask: Tensor) -> Tensor:
    """Σₜ (log π - log π_ref) of each completion: [P G T] -> [P G]."""
    return masked_sum(logp - logp_ref, mask)


def gap(value: Tensor, label: Tensor) -> Tensor:
    """The value of the chosen completion (label +1) minus that of the rejected (-1): [P G] -> [P]."""
    return (label * value).sum(-1)


def pair_labels(score: Tensor, mask: Tensor) -> Tensor:
    """+1 for the first completion of each pair, the chosen one, -1 for the second, at every token: [P 2 T]."""
    return spread(score.new_tensor([1.0, -1.0]).expand(score.shape), mask)


def mixed_labels(score: Tensor, mask: Tensor, origin: Tensor | None) -> Tensor:
    """`pair_labels` where the origin is 0; where it is 1, or where all groups are sampled, by the scores: [P 2 T].

    Of two sampled completions the one with the higher score has +1, the other -1; a tie has 0.
    """
    by_score = spread(best_and_worst(score), mask)
    return by_score if origin is None else torch.where(origin.view(-1, 1, 1) == 1, by_score, pair_labels(score, mask))


def label_of(advantage: Tensor, mask: Tensor) -> Tensor:
    """+1, -1 or 0, the label of a completion, which is the advantage of its counted tokens: [P G T] -> [P G]."""
    return masked_sum(advantage, mask).sign()


def of_label(value: Tensor, label: Tensor, side: int) -> Tensor:
    """The value of the completion that has the label `side`, 0 where none has it: [P G] -> [P]."""
    return (value * (label == side)).sum(-1)


def best_and_worst(score: Tensor) -> Tensor:
    """+1 for the (first) highest score of a group, -1 for the lowest, 0 for all others and for a tie of all: [P G]."""
    G = score.shape[-1]
    return (F.one_hot(score.argmax(-1), G) - F.one_hot(score.argmin(-1), G)).to(score)
