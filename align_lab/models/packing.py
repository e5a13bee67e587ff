"""Sequence packing: rows of unequal length behind each other, without padding, and attention within each of them.

What a model computes of every token is what it computes with padding. On a GPU that has a kernel of variable lengths
(flash attention, in bfloat16) all rows are one call of it; elsewhere they are one call each, which is exact and slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from align_lab.models.precision import NARROW

LARGEST_HEAD = 256  # that flash attention takes, in multiples of 8
OLDEST = (8, 0)  # compute capability


@dataclass(frozen=True, kw_only=True)
class Packing:
    """The N tokens that a model has to read of B rows [B S+T], in the order of the rows, and the M that it predicts:
    those of each row's response up to the last one that counts."""

    where: Tensor  # [N], in the flattened rows
    positions: Tensor  # [N], each row's from 0
    starts: Tensor  # [B+1] int32: where each row begins, and the end
    lengths: tuple[int, ...]  # of the rows, in main memory
    last: Tensor  # [M], of the N tokens those whose hidden states predict
    predicted: Tensor  # [M], in the flattened responses

    @classmethod
    def of(cls, pad: Tensor | None, mask: Tensor, prompt: int) -> Packing:
        """Rows with `prompt` columns of prompts, of which `pad` [B] are padding, and responses that count by `mask`
        [B T]. The processor waits for the device once."""
        T, device = mask.shape[1], mask.device
        response = (mask * torch.arange(1, T + 1, device=device)).amax(1).clamp(min=1)  # columns
        pad = torch.zeros_like(response) if pad is None else pad
        length = prompt - pad + response - 1  # the last token is predicted, and not read
        lengths, responses = torch.stack([length, response]).tolist()
        row, positions = runs(length, sum(lengths))
        owner, column = runs(response, sum(responses))
        ends = length.cumsum(0)
        return cls(
            where=row * (prompt + T) + pad[row] + positions,
            positions=positions,
            starts=F.pad(ends, (1, 0)).int(),
            lengths=tuple(lengths),
            last=ends[owner] - response[owner] + column,
            predicted=owner * T + column,
        )

    def attention(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Causal attention within each row: query [N H E], key and value [N K E] -> [N H E]."""
        if has_kernel(query):
            return together(query, key, value, self.starts, max(self.lengths))
        return row_by_row(query, key, value, self.lengths)


def runs(lengths: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Of runs with these lengths [B], `total` together, behind each other: the run of each element, and its place in
    the run."""
    run = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths, output_size=total)
    return run, torch.arange(total, device=lengths.device) - (lengths.cumsum(0) - lengths)[run]


def has_kernel(query: Tensor) -> bool:
    """Is there a kernel for rows of variable length on this device, and is it allowed?"""
    return (
        query.is_cuda
        and query.dtype in NARROW
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= LARGEST_HEAD
        and torch.backends.cuda.flash_sdp_enabled()
        and torch.cuda.get_device_capability() >= OLDEST
    )


def together(query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int) -> Tensor:
    """All rows by one kernel, in which the heads of a group share their keys."""
    from torch.nn.attention.varlen import varlen_attn

    shared = key.shape[1] != query.shape[1]
    out = varlen_attn(query, key, value, starts, starts, longest, longest, window_size=(-1, 0), enable_gqa=shared)
    assert isinstance(out, Tensor)
    return out


def row_by_row(query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int]) -> Tensor:
    """The same, a call for each row."""
    shared = key.shape[1] != query.shape[1]
    rows = zip(*(x.transpose(0, 1).split(list(lengths), 1) for x in (query, key, value)), strict=True)
    out = [
        F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, enable_gqa=shared)[0]
        for q, k, v in rows
    ]
    return torch.cat(out, 1).transpose(0, 1)
