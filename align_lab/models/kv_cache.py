"""Keys and values of the columns that a model has processed: a cache that grows, and one whose shapes never change.

On a processor a step attends to the columns so far and no others. On a GPU every step is the same kernels with the same
arguments, so that all of them can be launched at once, as a CUDA graph (`rollout/replay.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor

ALIGNED = 16  # columns; with another number, CUDA's fused attention copies its mask in every layer


def shapes_are_fixed(like: Tensor) -> bool:
    """Is a batch on this device decoded in shapes that do not change?"""
    return like.is_cuda


def aligned(columns: int) -> int:
    """The smallest number of columns for which CUDA's fused attention takes a mask as it is."""
    return -(-columns // ALIGNED) * ALIGNED


class KVCache:
    """Keys and values [layers B K L E], allocated once; the first `used` of L columns are filled."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values, self.used = keys, values, 0

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append new columns [B K S E] to a layer and return all its columns [B K used+S E]."""
        end = self.used + key.shape[2]
        self.keys[layer, :, :, self.used : end] = key
        self.values[layer, :, :, self.used : end] = value
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows: indices [B'], or a mask [B]."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]

    def repeat(self, rows: Tensor, length: int) -> KVCache:
        """A copy of these rows [B'], of which one may occur several times, with `length` columns: layer by layer, so
        that no more than a layer is held a third time."""
        layers, _, heads, _, size = self.keys.shape
        shape = (layers, len(rows), heads, length, size)
        copy = KVCache(self.keys.new_empty(shape), self.values.new_empty(shape))
        for layer in range(layers):
            filled = (x[layer, rows, :, : self.used] for x in (self.keys, self.values))
            copy.extend(layer, *filled)
        copy.used = self.used
        return copy

    def fixed(self, length: int) -> FixedCache:
        """The same columns, in shapes that do not change any more. It has room for `length` of them already."""
        return FixedCache(self)


class FixedCache:
    """A cache to which one column at a time is added. A step attends to all L columns; those that are not filled yet
    are masked, and which one is filled next is a number on the device."""

    def __init__(self, cache: KVCache) -> None:
        self.keys, self.values = cache.keys, cache.values
        device, L = self.keys.device, self.keys.shape[3]
        for x in (self.keys, self.values):
            x[:, :, :, cache.used :] = 0  # a masked column counts nothing, but 0 times NaN is NaN
        self.next = torch.full((1,), cache.used, device=device)  # the column that the next step fills
        self.columns = torch.arange(L, device=device)

    def bias(self, pad: Tensor | None) -> Tensor:
        """What is added to attention's logits in the next step, [B or 1, 1, 1, L]: -∞ at columns that are not filled,
        and at padding."""
        hidden = self.columns > self.next
        if pad is not None:
            hidden = hidden | (self.columns < pad[:, None])
        return hidden.new_zeros(hidden.shape, dtype=self.keys.dtype).masked_fill(hidden, -torch.inf)[..., None, None, :]

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put the next column [B K 1 E] into a layer and return all its columns [B K L E]."""
        self.keys[layer].index_copy_(2, self.next, key)
        self.values[layer].index_copy_(2, self.next, value)
        return self.keys[layer], self.values[layer]

    def advance(self) -> None:
        """The next column has been put into all layers."""
        self.next += 1

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows: indices [B'], or a mask [B]."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
