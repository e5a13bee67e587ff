"""Which numbers are wide: bfloat16 is for the matrix products of a model's body, and for nothing that is sampled from,
compared or added up."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NARROW = (torch.bfloat16, torch.float16)
UNITS = 2.0**40


def wide(x: Tensor) -> Tensor:
    """x in float32, if its own precision is lower."""
    return x.float() if x.dtype in NARROW else x


def product(a: Tensor, b: Tensor) -> Tensor:
    """a [n k] · b [k m], [n m]; of narrow numbers in float32: their products are exact there, and are summed in it."""
    if a.dtype not in NARROW:
        return a @ b
    if a.is_cuda:
        return torch.mm(a, b, out_dtype=torch.float32)  # a kernel that only CUDA has
    return a.float() @ b.float()


def running_sum(x: Tensor) -> Tensor:
    """The sums of the first 1, 2, ... of the numbers x [.. n], which are below 2^22 in total.

    CUDA has a deterministic algorithm for whole numbers alone: there, they are summed in units of 2^-40.
    """
    if not (x.is_cuda and torch.are_deterministic_algorithms_enabled()):
        return x.cumsum(-1)
    return ((x.double() * UNITS).long().cumsum(-1).double() / UNITS).to(x.dtype)


def convert(model: nn.Module, dtype: torch.dtype) -> None:
    """Convert the parameters of a model, in place. Its buffers stay: angles of rotary positions need their digits."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
