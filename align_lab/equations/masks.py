"""Sums and means over counted tokens, those whose mask is True. Values at other tokens have no effect, not even NaN."""

from __future__ import annotations

import torch
from torch import Tensor


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """x where the mask is True, elsewhere 0 without gradient: [... T] -> [... T]."""
    return torch.where(mask, x, torch.zeros_like(x))


def masked_sum(x: Tensor, mask: Tensor) -> Tensor:
    """Σₜ xₜ over counted tokens, [... T] -> [...]."""
    return masked(x, mask).sum(-1)


def masked_mean(x: Tensor, mask: Tensor, *, over: float) -> Tensor:
    """Σᵢ Σₜ xᵢₜ / N over counted tokens, a scalar. N is a count over the whole minibatch, so micro-batches add up.

    N = tokens weighs all tokens equally. N = sequences treats a sequence as one action and sums over its tokens.
    """
    return masked(x, mask).sum() / over


def sequence_mean(x: Tensor, mask: Tensor) -> Tensor:
    """1/|i| Σₜ xᵢₜ, the mean over the counted tokens of each sequence: [... T] -> [...]."""
    return masked_sum(x, mask) / mask.sum(-1).clamp(min=1)


def mean_of_means(x: Tensor, mask: Tensor, *, over: float) -> Tensor:
    """Σᵢ (1/|i| Σₜ xᵢₜ) / N, a scalar: |i| counts the tokens of sequence i, and N the sequences of the minibatch.

    Every sequence weighs the same, so a token of a long sequence weighs less (GRPO, arXiv 2402.03300, eq. 3).
    """
    return sequence_mean(x, mask).sum() / over


def spread(per_sequence: Tensor, mask: Tensor) -> Tensor:
    """Broadcast one number per sequence to its counted tokens: [P G] and mask [P G T] -> [P G T]."""
    return per_sequence.unsqueeze(-1) * mask


def at_end(per_sequence: Tensor, mask: Tensor) -> Tensor:
    """Place one number per sequence at its last counted token: [P G] and mask [P G T] -> [P G T]."""
    remaining = mask.flip(-1).cumsum(-1).flip(-1)  # counted tokens from this one to the end
    return per_sequence.unsqueeze(-1) * (mask & (remaining == 1))
