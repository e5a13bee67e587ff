"""FSDP2 of PyTorch (arXiv 2304.11277): each process has some rows of every weight, gradient and moment.

`fully_shard` gathers the weights of a block for its forward and its backward pass, and sums its gradients over the
processes after the backward pass of each micro-batch. All other weights (embedding, norm, heads) are one unit more.

Where the model is bfloat16 the rows are float32 master weights: a block computes with their rounded values, as it does
with the other engines, and gradients are summed over processes and micro-batches in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from align_lab.base.hyperparameters import Train
from align_lab.base.world import World, ensure_group
from align_lab.models.blocks import blocks
from align_lab.models.language_model import LanguageModel
from align_lab.train.engines.arrival import arrive, receive
from align_lab.train.engines.gathered_copy import GatheredCopy
from align_lab.train.engines.torch_engine import TorchEngine
from align_lab.train.shards import Parts, Slice, between, extent


class FsdpEngine(TorchEngine):
    """One model under fully_shard, with the AdamW of the torch engine on its rows."""

    sharded = waits = True

    def __init__(self, model: nn.Module, *, name: str, plan: Train, lr: float) -> None:
        ensure_group()
        self.learning, self.unfinished = True, False
        arrives = arrive(model)
        self.gathered_copy = GatheredCopy(model)
        shard(model, arrives=arrives)
        super().__init__(model, name=name, plan=plan, lr=lr)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The outputs of the model, with gradient where it is updated this time."""
        self.unfinished = True
        with torch.set_grad_enabled(self.learning and torch.is_grad_enabled()):
            return self.model(*inputs, **options)

    def zero_grad(self, *, learning: bool) -> None:
        """Start an update; without `learning` the model is not updated this time."""
        self.learning, self.norm = learning, None
        if self.unfinished:  # memory may have run out in the middle of a pass
            cast(FSDPModule, self.model).reset_iter_state()
        super().zero_grad(learning=learning)

    def backward(self) -> None:
        """The backward pass of the loss was also this engine's."""
        self.unfinished = False

    def summed_while_complete(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """None: every backward pass sums its gradients."""
        return []

    def reduce(self) -> None:
        """Clip the gradients by their norm over all processes, which the backward pass has summed."""
        if self.learning:
            norm = nn.utils.clip_grad_norm_(self.masters, self.plan.max_grad_norm)
            self.check(float(norm.full_tensor() if isinstance(norm, DTensor) else norm))

    @contextmanager
    def full_model(self) -> Iterator[nn.Module]:
        """A copy of the model with all weights."""
        with self.gathered_copy.filled(self.model, _gathered) as model:
            yield model

    def moments(self) -> list[Tensor]:
        """This process's rows of the optimizer's state. Its rows of the weights stay: they are gathered from them."""
        return [_rows(value) for value in super().moments()]

    def part(self, tensor: Tensor, world: World) -> Tensor | Slice:
        """This process's rows of a weight or a moment."""
        rows = _rows(tensor)
        return Slice(rows.reshape(-1), tensor.shape) if world.size > 1 else rows

    def restored(self, value: Tensor | Parts, like: Tensor) -> Tensor:
        """This process's rows of a saved weight or moment; nothing else is read."""
        assert isinstance(like, DTensor)
        rows, width = _rows(like), like.numel() // len(like)
        start, end = extent(len(like), World.current())
        own = between(value, start * width, end * width).to(rows.device, rows.dtype, copy=True).view_as(rows)
        return DTensor.from_local(own, like.device_mesh, like.placements, shape=like.shape, stride=like.stride())


def frozen(model: LanguageModel) -> LanguageModel:
    """A model that is not trained, in place: each process has some rows of its weights. Collective."""
    ensure_group()
    shard(model.requires_grad_(False), arrives=arrive(model))
    return model


def shard(model: nn.Module, *, arrives: bool = False) -> None:
    """Replace the parameters of a model by this process's rows of them, in place, block by block. Collective.

    `arrives`: they are those that rank 0 has in main memory. Trained bfloat16 weights become float32; frozen ones, as
    those below adapters, remain what they are.
    """
    mesh = init_device_mesh(torch.get_default_device().type, (dist.get_world_size(),))
    half = next(model.parameters()).dtype == torch.bfloat16
    precision = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None,
        reduce_dtype=torch.float32 if half else None,
        cast_forward_inputs=False,
    )
    if half and isinstance(model, LanguageModel):
        model.body_dtype = torch.bfloat16
    for unit in (*blocks(model), model):
        if arrives:
            receive(unit)
        for parameter in unit.parameters():
            if half and parameter.requires_grad:
                parameter.data = parameter.data.float()
        sharded = fully_shard(unit, mesh=mesh, reshard_after_forward=True, mp_policy=precision)
        sharded.set_gradient_divide_factor(1.0)  # losses are normalized by counts over all processes: no mean
        sharded.set_force_sum_reduction_for_comms(True)


def _rows(tensor: Tensor) -> Tensor:
    """This process's rows."""
    assert isinstance(tensor, DTensor)
    return tensor.to_local()


def _gathered(parameter: nn.Parameter, dtype: torch.dtype) -> Tensor:
    """The whole parameter, rounded before it is sent."""
    return cast(DTensor, parameter.detach().to(dtype)).full_tensor()
