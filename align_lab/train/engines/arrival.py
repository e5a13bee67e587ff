"""Weights that the first process alone has read arrive in all processes, a unit of the model after the other.

So no process ever has the whole of a model on its device: the first one reads it into main memory, the others build it
without memory (on the device `meta`), and a unit is sharded before the next one arrives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from align_lab.base.errors import ConfigError
from align_lab.base.world import World


@torch.no_grad()
def arrive(model: nn.Module) -> bool:
    """Prepare a model to be sharded, in place. Collective.

    True: its weights are to be received (`receive`); all other tensors have arrived. False: every process has read the
    weights, which are then on its device. Raises ConfigError where a model without weights has other tensors.
    """
    lacks = any(parameter.is_meta for parameter in model.parameters())
    if not World.current().max(int(lacks)):
        model.to(torch.get_default_device())
        return False
    check_equal(World.current().concatenate([described(model)]))
    for module in model.modules():
        for name, value in beside_weights(module).items():
            setattr(module, name, _of_first(value))
    return True


def beside_weights(module: nn.Module) -> dict[str, Tensor]:
    """A module's own buffers, and the tensors that it keeps beside them, as some do with the angles of positions."""
    kept = {name: value for name, value in vars(module).items() if isinstance(value, Tensor)}
    return dict(module.named_buffers(recurse=False)) | kept


def described(model: nn.Module) -> dict[str, str]:
    """Precision and shape of every tensor of a model, by its name."""
    return {
        f"{path}.{name}": f"{value.dtype} {list(value.shape)}"
        for path, module in model.named_modules()
        for name, value in (*module.named_parameters(recurse=False), *beside_weights(module).items())
    }


def check_equal(every: Sequence[Mapping[str, str]]) -> None:
    """Raises ConfigError where the processes' models have other tensors than that of the first."""
    first = every[0]
    other = next((one for one in every if one != first), first)
    for name in sorted(first.keys() | other.keys()):
        if first.get(name) != other.get(name):
            raise ConfigError(
                f"to be sharded, this model is built without its weights, and {name} is then "
                f"{other.get(name, 'missing')}, not {first.get(name, 'missing')}. "
                "Set hardware.numerics.engine=torch, or deepspeed with hardware.numerics.zero_stage=2"
            )


@torch.no_grad()
def receive(unit: nn.Module) -> None:
    """Replace the weights of this part of a model by those of rank 0, on this process's device. Collective.

    A weight that occurs twice, as a tied head does, stays one. What FSDP or DeepSpeed has sharded stays.
    """
    arrived: dict[int, nn.Parameter] = {}
    for module in unit.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if isinstance(parameter, DTensor) or hasattr(parameter, "ds_shape"):
                continue
            if id(parameter) not in arrived:
                own = nn.Parameter(_of_first(parameter), requires_grad=parameter.requires_grad)
                arrived[id(parameter)] = own
            module.register_parameter(name, arrived[id(parameter)])


def _of_first(tensor: Tensor) -> Tensor:
    """Rank 0's values, on this process's device."""
    device = torch.get_default_device()
    if dist.get_rank() == 0:
        own = tensor.detach().to(device).contiguous()
    else:
        own = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
    dist.broadcast(own.view(-1).view(torch.uint8), src=0)  # as bytes, which all backends support
    return own
