"""The float32 weights and the moments of parameters that DeepSpeed shards, as slices (`train/shards.py`).

Stage 3 has these slices. Stages 1 and 2 have slices of all parameters in one row, so each parameter is gathered.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from align_lab.base.world import World
from align_lab.train.engines.engine import shape
from align_lab.train.shards import Parts, Slice, extent, own, sliced, whole


@torch.no_grad()
def get(parameter: nn.Parameter, key: str | None, *, stage: int) -> Tensor | Slice:
    """This process's slice of a parameter (`key` None) or of one of its moments, in main memory. Collective."""
    from deepspeed.utils import (
        safe_get_full_fp32_param,
        safe_get_full_optimizer_state,
        safe_get_local_fp32_param,
        safe_get_local_optimizer_state,
    )

    world = World.current()
    if stage == 3 and world.size > 1:
        local = safe_get_local_optimizer_state(parameter, key) if key else safe_get_local_fp32_param(parameter)
        assert local is not None
        start, end = extent(shape(parameter).numel(), world)
        return Slice(local.detach().reshape(-1)[: end - start].to("cpu", copy=True), shape(parameter), copied=True)
    full = safe_get_full_optimizer_state(parameter, key) if key else safe_get_full_fp32_param(parameter)
    assert full is not None
    taken = sliced(full.detach(), world)
    if isinstance(taken, Slice):  # of memory that the next parameter takes
        return Slice(taken.flat.to("cpu", copy=True), taken.shape, copied=True)
    return taken.to("cpu", copy=True)


def put(parameter: nn.Parameter, value: Tensor | Parts, key: str | None, *, stage: int) -> None:
    """Set a parameter (`key` None) or one of its moments, as far as this process has it."""
    from deepspeed.utils import (
        safe_set_full_fp32_param,
        safe_set_full_optimizer_state,
        safe_set_local_fp32_param,
        safe_set_local_optimizer_state,
    )

    if stage == 3:
        world = World.current()
        mine = own(value, world).to(parameter.device, torch.float32)
        local = nn.functional.pad(mine, (0, -(-shape(parameter).numel() // world.size) - len(mine)))
        if key:
            safe_set_local_optimizer_state(parameter, local, key)
        else:
            safe_set_local_fp32_param(parameter, local)
        return
    full = whole(value).to(parameter.device, torch.float32)
    if key:
        safe_set_full_optimizer_state(parameter, full, key)
    else:
        safe_set_full_fp32_param(parameter, full)
