"""Which items a step uses, and in which order: shuffles that depend on a purpose and a key alone."""

from __future__ import annotations

import torch
from torch import Tensor

from align_lab.base.random import stream


def permutation(count: int, purpose: str, *key: int) -> Tensor:
    """A random order [count]."""
    return torch.from_numpy(stream(purpose, *key).permutation(count))


def passes(total: int, count: int, first: int) -> Tensor:
    """Of each item [count] that `draw` gives, the number of the pass, which is how often it was drawn before."""
    return torch.arange(first, first + count) // total


def draw(total: int, count: int, first: int, seed: int) -> Tensor:
    """Indices [count] of items, after the `first` that were drawn before: slices of a shuffle of `total` per pass."""
    if not count:
        return torch.zeros(0, dtype=torch.long)
    numbers = range(first // total, (first + count - 1) // total + 1)
    shuffles = torch.cat([permutation(total, "pass", seed, number) for number in numbers])
    start = first - first // total * total
    return shuffles[start : start + count]
