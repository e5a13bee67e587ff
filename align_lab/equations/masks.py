"""Sums and means over the tokens that count. What lies under the mask never matters, not even NaN."""

from __future__ import annotations

import torch
from torch import Tensor


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """x where the mask is True, else 0, with no gradient there. [... T]"""
    return torch.where(mask, x, torch.zeros_like(x))


def masked_sum(x: Tensor, mask: Tensor) -> Tensor:
    """Σₜ xₜ over counted tokens, [... T] -> [...]."""
    return masked(x, mask).sum(-1)


def masked_mean(x: Tensor, mask: Tensor, *, over: float) -> Tensor:
    """Σᵢ Σₜ xᵢₜ / N over counted tokens, a scalar. N is a count of the whole minibatch, so that parts add up.

    N = tokens: every token weighs the same. N = sequences: a sequence is one action, whose tokens are summed.
    """
    return masked(x, mask).sum() / over


def spread(per_sequence: Tensor, mask: Tensor) -> Tensor:
    """Give every counted token its sequence's number: [P G] and mask [P G T] -> [P G T]."""
    return per_sequence.unsqueeze(-1) * mask


def at_end(per_sequence: Tensor, mask: Tensor) -> Tensor:
    """Give the last counted token of each sequence its number: [P G] and mask [P G T] -> [P G T]."""
    later = mask.flip(-1).cumsum(-1).flip(-1)  # counted tokens from here on
    return per_sequence.unsqueeze(-1) * (mask & (later == 1))
