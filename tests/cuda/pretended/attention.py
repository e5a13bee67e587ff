"""Flash attention of rows of variable length, for which the processor has no kernel: one launch, and several back."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from align_lab.models.packing import row_by_row
from tests.cuda.pretended.places import CUDA

if TYPE_CHECKING:
    from tests.cuda.pretended.machine import Machine


def varlen(machine: Machine, query: Tensor, key: Tensor, value: Tensor, starts: Tensor) -> Tensor:
    """`packing.together`: the kernel itself knows the rows, so nobody waits for their lengths."""
    machine.counts.attention["flash"] += 1
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        ends = starts.tolist()
    with machine.within(CUDA, fused=True):
        return row_by_row(query, key, value, [after - before for before, after in pairwise(ends)])
