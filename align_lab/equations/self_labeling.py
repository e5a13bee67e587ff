"""SAIL's terms: labels that the policy draws itself, and gradients through where labels and completions come from.

Ding et al., SAIL: Self-Improving Efficient Online Alignment of Large Language Models, arXiv 2406.15567. With F = log
σ(βz) of a labeled pair, the objective J = E[F] depends on θ three times: through F itself (that is DPO), through the
distribution of the label, and through that of the completions. The last two are score functions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from align_lab.base.types import Batch


def policy_label(gap: Tensor, noise: Tensor) -> Tensor:
    """+1 with probability σ(βz), else -1, without gradient: βz [P] and uniform numbers [P] -> [P].

    The policy is its own annotator: by Bradley and Terry, its implicit rewards prefer the first completion so often.
    """
    preferred = noise.to(gap) < torch.sigmoid(gap.detach())
    return 2.0 * preferred.to(gap) - 1.0


def relabeled(label: Tensor, drawn: Tensor, own: Tensor) -> Tensor:
    """The labels [P G], in the order that was drawn [P] where the policy labels [P] bool, else as they are."""
    return label * torch.where(own, drawn, torch.ones_like(drawn)).unsqueeze(-1)


def log_preference(gap: Tensor) -> Tensor:
    """F = log σ(βz) ≤ 0, the log-probability of the label: βz [P] -> [P]."""
    return F.logsigmoid(gap)


def through_labels(log_preference: Tensor) -> Tensor:
    """-½ F², whose gradient -F ∇F is the score function of a label drawn with probability σ(βz): [P] -> [P]."""
    return -0.5 * log_preference.square()


def through_completions(log_preference: Tensor, logp: Tensor) -> Tensor:
    """0, with the gradient -F Σ_g ∇ log π(y_g), the score function of completions of the policy: [P], [P G] -> [P]."""
    return -(log_preference.detach().unsqueeze(-1) * _only_gradient(logp)).sum(-1)


def through_completions_released(log_preference: Tensor, logp: Tensor) -> Tensor:
    """0, with the gradient -F Σ_g ∇ log π(y_g) / log π(y_g) that SAIL's released code adds: [P], [P G] -> [P].

    It divides by the log-probability as if that were the probability. A log-probability is at most -1e-6 here.
    """
    weight = log_preference.unsqueeze(-1) / logp.clamp(max=-1e-6)
    return -(weight.detach() * _only_gradient(logp)).sum(-1)


def sampled(x: Batch) -> Tensor:
    """Which groups the policy sampled, where a set of pairs gives the others: [P] bool; without such a set, all."""
    if x.origin is None:
        return torch.ones(len(x.mask), dtype=torch.bool, device=x.mask.device)
    return x.origin == 1


def _only_gradient(x: Tensor) -> Tensor:
    return x - x.detach()
