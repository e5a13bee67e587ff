"""Surrogate objectives: the losses that are differentiated in place of the expected reward, and the value loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from align_lab.base.types import Rollout
from align_lab.equations.masks import masked


class Clipped(NamedTuple):
    """The loss per token and where its clip is active, [... T] each."""

    loss: Tensor
    active: Tensor


def clipped_surrogate(logp: Tensor, logp_old: Tensor, advantage: Tensor, mask: Tensor, *, clip: float) -> Clipped:
    """max(-A ρ, -A clip(ρ, 1-ε, 1+ε)), ρ = π/π_old (PPO, arXiv 1707.06347, eq. 7); ε = ∞ does not clip."""
    ratio = masked(logp - logp_old, mask).exp()
    unclipped, clipped = -advantage * ratio, -advantage * ratio.clamp(1 - clip, 1 + clip)
    return Clipped(torch.maximum(unclipped, clipped), (clipped > unclipped) & mask)


def importance_weight(x: Rollout, cap: float) -> Tensor:
    """min(π_trainer / π_sampler, cap), [P G T], without gradient: truncated importance sampling (Ionides 2008).

    Yao et al. 2025 apply it to the mismatch between an inference engine and the trainer, as here.
    """
    return masked(x.logp_old - x.logp_sampler, x.mask).exp().clamp(max=cap)


def clipped_value_loss(value: Tensor, value_old: Tensor, returns: Tensor, mask: Tensor, *, clip: float) -> Clipped:
    """½ max((V-G)², (V_old + clip(V-V_old, ±ε) - G)²), as in OpenAI's baselines; ε = ∞ does not clip."""
    value, value_old, returns = (masked(x, mask) for x in (value, value_old, returns))
    bounded = value.clamp(value_old - clip, value_old + clip)  # bit for bit the value where the clip is not active
    unclipped, clipped = (value - returns).square(), (bounded - returns).square()
    return Clipped(torch.maximum(unclipped, clipped) / 2, (clipped > unclipped) & mask)
