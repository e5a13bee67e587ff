"""From per-token rewards to returns and advantages. Masked tokens are skipped: they add no reward and no discount."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from align_lab.equations.masks import masked


def reward_to_go(reward: Tensor, mask: Tensor, *, gamma: float) -> Tensor:
    """Gₜ = Rₜ + γ Gₜ₊₁, where t+1 is the next counted token: [... T] -> [... T], 0 at masked tokens.

    By doubling: the sum over n columns from t on is joined with the one from t+n on, so log₂ T steps suffice.
    """
    total, discount = masked(reward, mask), torch.where(mask, gamma, 1.0).to(reward.dtype)
    span = 1
    while span < mask.shape[-1]:
        total = total + discount * F.pad(total[..., span:], (0, span))
        discount = discount * F.pad(discount[..., span:], (0, span))
        span *= 2
    return masked(total, mask)


def gae(reward: Tensor, value: Tensor, mask: Tensor, *, gamma: float, lam: float) -> Tensor:
    """Generalized advantage estimation (arXiv 1506.02438, eq. 16): [... T] -> [... T], 0 at masked tokens.

    δₜ = Rₜ + γ V(sₜ₊₁) - V(sₜ),  Aₜ = δₜ + γλ Aₜ₊₁;  V after the last token is 0.
    """
    delta = masked(reward, mask) + gamma * next_counted(value, mask) - masked(value, mask)
    return reward_to_go(delta, mask, gamma=gamma * lam)


def next_counted(x: Tensor, mask: Tensor) -> Tensor:
    """x at the next counted token, 0 after the last one: [... T] -> [... T]."""
    T = mask.shape[-1]
    counted = torch.where(mask, torch.arange(T, device=mask.device), T)
    following = F.pad(counted[..., 1:], (0, 1), value=T).flip(-1).cummin(-1).values.flip(-1)
    return F.pad(x, (0, 1)).gather(-1, following)
