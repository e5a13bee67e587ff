"""From the score of a completion to the optimized reward, which includes the KL penalty."""

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
    """Rₜ = -β log π_old(yₜ)/π_ref(yₜ) + sₜ, plus score - Σₜ sₜ at the last counted token: [P G T].

    sₜ is the score of the step that ends with token t (process rewards); without steps the whole score [P G] is at the
    last token. Either way the rewards of a sequence add up to its score and its penalty.
    """
    if x.step_reward is None:
        return token_penalty(x, kl_coef) + at_end(score, x.mask)
    steps = masked(x.step_reward, x.mask)
    return token_penalty(x, kl_coef) + steps + at_end(score - steps.sum(-1), x.mask)


def overlong_penalty(mask: Tensor, *, longest: int, share: float) -> Tensor:
    """0 up to (1 - share) of the `longest` length, then linearly down to -1 at `longest`: mask [P G T] -> [P G].

    "Soft overlong punishment" of DAPO, arXiv 2503.14476, eq. 13; there 4,096 of 20,480 tokens are the buffer.
    """
    buffer = share * longest
    return -((mask.sum(-1) - (longest - buffer)) / buffer).clamp(0, 1)
