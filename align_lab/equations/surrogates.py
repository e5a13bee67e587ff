"""Surrogate objectives: the losses that are differentiated in place of the expected reward, and the value loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from align_lab.base.types import Rollout
from align_lab.equations.masks import masked, masked_sum


class Clipped(NamedTuple):
    """The loss per token and where its clip is active, [... T] each."""

    loss: Tensor
    active: Tensor


def clipped_surrogate(
    logp: Tensor, logp_old: Tensor, advantage: Tensor, mask: Tensor, *, clip: float, clip_high: float | None = None
) -> Clipped:
    """max(-A ρ, -A clip(ρ, 1-ε, 1+ε)), ρ = π/π_old (PPO, arXiv 1707.06347, eq. 7); ε = ∞ does not clip.

    `clip_high`: the ε above 1, where it differs (DAPO, arXiv 2503.14476, section 3.1); None: as below 1.
    """
    ratio = masked(logp - logp_old, mask).exp()
    return _clipped(ratio, advantage, mask, low=clip, high=clip if clip_high is None else clip_high)


def sequence_surrogate(
    logp: Tensor, logp_old: Tensor, advantage: Tensor, mask: Tensor, *, clip: float, clip_high: float
) -> Clipped:
    """`clipped_surrogate` with one ratio for all tokens of a sequence, the geometric mean of theirs: [P G T].

    s = (π(y)/π_old(y))^(1/|y|), GSPO, arXiv 2507.18071, eqs. 5 and 7.
    """
    length = mask.sum(-1).clamp(min=1)
    mean = masked_sum(logp - logp_old, mask) / length
    ratio = mean.exp().unsqueeze(-1).expand(mask.shape)
    return _clipped(ratio, advantage, mask, low=clip, high=clip_high)


def _clipped(ratio: Tensor, advantage: Tensor, mask: Tensor, *, low: float, high: float) -> Clipped:
    """max(-A ρ, -A clip(ρ, 1-low, 1+high)) of any ratio ρ [... T]."""
    unclipped, clipped = -advantage * ratio, -advantage * ratio.clamp(1 - low, 1 + high)
    return Clipped(torch.maximum(unclipped, clipped), (clipped > unclipped) & mask)


def capped_weight_surrogate(logp: Tensor, logp_old: Tensor, advantage: Tensor, mask: Tensor, *, cap: float) -> Clipped:
    """-sg(min(ρ, cap)) A log π: the ratio is a weight without gradient, so every token keeps its gradient: [... T].

    CISPO, arXiv 2506.13585, eqs. 4 and 5; `active` marks the tokens whose weight is capped.
    """
    logp = masked(logp, mask)
    ratio = (logp - masked(logp_old, mask)).detach().exp()
    return Clipped(-ratio.clamp(max=cap) * advantage * logp, (ratio > cap) & mask)


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
