"""From per-token rewards to returns and advantages. Masked tokens are skipped: they add no reward and no discount."""

from __future__ import annotations

import torch
from torch import Tensor

from align_lab.equations.masks import masked


def reward_to_go(reward: Tensor, mask: Tensor, *, gamma: float) -> Tensor:
    """Gₜ = Rₜ + γ Gₜ₊₁, where t+1 is the next counted token: [... T] -> [... T], 0 at masked tokens."""
    reward, after, out = masked(reward, mask), torch.zeros_like(reward[..., 0]), torch.zeros_like(reward)
    for t in reversed(range(mask.shape[-1])):
        after = torch.where(mask[..., t], reward[..., t] + gamma * after, after)
        out[..., t] = after
    return masked(out, mask)


def gae(reward: Tensor, value: Tensor, mask: Tensor, *, gamma: float, lam: float) -> Tensor:
    """Generalized advantage estimation (arXiv 1506.02438, eq. 16): [... T] -> [... T], 0 at masked tokens.

    δₜ = Rₜ + γ V(sₜ₊₁) - V(sₜ),  Aₜ = δₜ + γλ Aₜ₊₁;  V after the last token is 0.
    """
    delta = masked(reward, mask) + gamma * next_counted(value, mask) - masked(value, mask)
    return reward_to_go(delta, mask, gamma=gamma * lam)


def next_counted(x: Tensor, mask: Tensor) -> Tensor:
    """x at the next counted token, 0 after the last one: [... T] -> [... T]."""
    after, out = torch.zeros_like(x[..., 0]), torch.zeros_like(x)
    for t in reversed(range(mask.shape[-1])):
        out[..., t] = after
        after = torch.where(mask[..., t], x[..., t], after)
    return out
