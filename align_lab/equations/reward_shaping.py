"""From the score of a completion to the optimised reward, which includes the KL penalty."""

from __future__ import annotations

import torch
from torch import Tensor

from align_lab.base.types import Rollout
from align_lab.equations.divergences import k1
from align_lab.equations.masks import at_end, masked, masked_sum


def token_penalty(x: Rollout, kl_coef: float) -> Tensor:
    """-β log π_old(yₜ)/π_ref(yₜ), [P G T]; zeros if β is 0, when no reference is needed."""
    if kl_coef == 0:
        return torch.zeros_like(x.logp_old)
    return masked(-kl_coef * k1(x.logp_old, x.logp_ref), x.mask)


def kl_penalty(x: Rollout, kl_coef: float) -> Tensor:
    """-β Σₜ log π_old(yₜ)/π_ref(yₜ), the penalty of a whole sequence: [P G]."""
    return masked_sum(token_penalty(x, kl_coef), x.mask)


def token_reward(x: Rollout, score: Tensor, kl_coef: float) -> Tensor:
    """Rₜ = -β log π_old(yₜ)/π_ref(yₜ), plus the score [P G] at the last counted token: [P G T]."""
    return token_penalty(x, kl_coef) + at_end(score, x.mask)
