"""Comparisons of a prompt's samples with each other, in place of a critic.

A baseline that does not depend on its sample lowers the variance of the policy gradient and leaves its mean unchanged.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDING = 1e-5  # of rewards that contain a sum of log-probabilities in float32


def leave_one_out(reward: Tensor) -> Tensor:
    """bᵢ = 1/(G-1) Σ_{j≠i} Rⱼ, the mean of the *other* samples of the prompt: [P G] -> [P G].

    Independent of sample i, hence unbiased. Kool et al. 2019; Ahmadian et al. (arXiv 2402.14740) section 3.2.
    In a group of equal rewards exactly that reward, without the remainder of rounding.
    """
    G = reward.shape[-1]
    others = (reward.sum(-1, keepdim=True) - reward) / (G - 1)
    return torch.where(differing_groups(reward).unsqueeze(-1), others, reward)


def centered_groups(reward: Tensor) -> Tensor:
    """Rᵢ - mean(R₁ … R_G), (G-1)/G times the advantage of `leave_one_out`: [P G] -> [P G].

    Exactly 0 in a group of equal rewards, where rounding would leave a remainder.
    """
    centered = reward - reward.mean(-1, keepdim=True)
    return torch.where(differing_groups(reward).unsqueeze(-1), centered, torch.zeros_like(centered))


def differing_groups(reward: Tensor) -> Tensor:
    """False for the groups whose rewards are all equal, which say nothing about what is better: [P G] -> [P] bool."""
    return reward.amax(-1) > reward.amin(-1)


def best(reward: Tensor) -> Tensor:
    """1 for the (first) highest reward of a group, 0 for all others, and for all where they are equal: [P G] -> [P G].

    Rewards that differ by rounding alone, less than `ROUNDING` of their size, count as equal: which of them is higher
    depends on the processor. The completions that RAFT imitates, arXiv 2304.06767.
    """
    highest, lowest = reward.amax(-1, keepdim=True), reward.amin(-1, keepdim=True)
    equal = ROUNDING * torch.maximum(highest.abs(), lowest.abs()).clamp(min=1)
    first = (reward >= highest - equal).to(torch.uint8).argmax(-1)
    won = F.one_hot(first, reward.shape[-1]).to(reward)
    return won * (highest - lowest > equal)


def standardize_groups(reward: Tensor, *, eps: float) -> Tensor:
    """(Rᵢ - mean) / (std + eps) within the group of a prompt, with the unbiased std: [P G] -> [P G].

    Biased: the mean contains sample i, and the std changes the weight of a prompt. GRPO, arXiv 2402.03300, s. 4.1.2.
    """
    return centered_groups(reward) / (reward.std(-1, keepdim=True) + eps)
