"""Baselines: subtracted from a reward, they lower the variance of the policy gradient and leave its mean unchanged."""

from __future__ import annotations

from torch import Tensor


def leave_one_out(reward: Tensor) -> Tensor:
    """bᵢ = 1/(G-1) Σ_{j≠i} Rⱼ, the mean of the *other* samples of the prompt: [P G] -> [P G].

    Independent of sample i, hence unbiased. Kool et al. 2019; Ahmadian et al. (arXiv 2402.14740) section 3.2.
    """
    G = reward.shape[-1]
    return (reward.sum(-1, keepdim=True) - reward) / (G - 1)
