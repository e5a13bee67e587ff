"""Comparisons of a prompt's samples with each other, in place of a critic.

A baseline that does not depend on its sample lowers the variance of the policy gradient and leaves its mean unchanged.
"""

from __future__ import annotations

from torch import Tensor


def leave_one_out(reward: Tensor) -> Tensor:
    """bᵢ = 1/(G-1) Σ_{j≠i} Rⱼ, the mean of the *other* samples of the prompt: [P G] -> [P G].

    Independent of sample i, hence unbiased. Kool et al. 2019; Ahmadian et al. (arXiv 2402.14740) section 3.2.
    """
    G = reward.shape[-1]
    return (reward.sum(-1, keepdim=True) - reward) / (G - 1)


def standardize_groups(reward: Tensor, *, eps: float) -> Tensor:
    """(Rᵢ - mean) / (std + eps) within the group of a prompt, with the unbiased std: [P G] -> [P G].

    Biased: the mean contains sample i, and the std changes the weight of a prompt. GRPO, arXiv 2402.03300, s. 4.1.2.
    """
    return (reward - reward.mean(-1, keepdim=True)) / (reward.std(-1, keepdim=True) + eps)
