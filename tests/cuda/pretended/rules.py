"""What CUDA refuses, which operators launch a kernel there, and which let the processor wait for the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tests.cuda.pretended.places import CPU, CUDA, Places

NO_KERNEL = {"detach", "alias", "lift_fresh", "set_", "resize_", "_local_scalar_dense", "is_same_size"}
NO_KERNEL |= {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim", "unique_consecutive"}
WAITS |= {"bincount", "repeat_interleave"}
TAKES_SCALARS = {"where", "masked_fill", "masked_fill_", "fill_", "index_put", "index_put_", "_index_put_impl_"}
TAKES_SCALARS |= {"_foreach_mul", "_foreach_mul_", "_foreach_div_"}  # tensors without axes, from the processor
INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
NOT_DETERMINISTIC = {"cumsum", "put_", "histc", "kthvalue", "median"}  # of floats, under deterministic algorithms


class Refused(RuntimeError):
    """CUDA would raise here."""


def device_of_result(func: Any, args: Sequence[Any], inputs: Sequence[Tensor], places: Places) -> torch.device:
    """The device on which an operator with these inputs runs. Raises Refused where CUDA would."""
    name = name_of(func)
    devices = [places.of(tensor) for tensor in inputs]
    if name == "copy_":
        return devices[0]
    if name in INDEXES:
        return _device_of_index(name, args, places)
    if devices[0] == CUDA and name in NOT_DETERMINISTIC and _is_refused(inputs[0]):
        raise Refused(f"{name} does not have a deterministic implementation")
    if len(set(devices)) == 1 or not _is_mixed(devices):
        return devices[0]
    elementwise = torch.Tag.pointwise in func.tags or name in TAKES_SCALARS
    arrays = {device for tensor, device in zip(inputs, devices, strict=True) if tensor.ndim}
    if not elementwise or len(arrays) > 1:
        raise Refused(f"{name}: expected all tensors to be on the same device, but found {_listed(inputs, devices)}")
    if name.endswith("_") and devices[0] == CPU:
        raise Refused(f"{name}: the output is on cpu, the inputs on cuda: {_listed(inputs, devices)}")
    return CUDA


def name_of(func: Any) -> str:
    """`aten::add.Tensor` -> `add`."""
    return func._schema.name.partition("::")[2]


def launches(func: Any, *, new: bool) -> bool:
    """Does an operator start a kernel? Views do not. new: it allocated its output."""
    if name_of(func) in NO_KERNEL:
        return False
    return new or any(one.alias_info is not None and one.alias_info.is_write for one in func._schema.arguments)


def waits(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], places: Places) -> bool:
    """Does the processor wait for the device? It does where the size of the result depends on the values, unless it is
    told, and for indices that are copied to the device."""
    name = name_of(func)
    if kwargs.get("output_size") is not None:
        return False
    if name in INDEXES:
        given = [index for index in args[1] if index is not None]
        return any(index.dtype in (torch.bool, torch.uint8) or places.of(index) == CPU for index in given)
    return name in WAITS


def attention_kernel(query: Tensor, key: Tensor, *, masked: bool) -> str:
    """The kernel of scaled_dot_product_attention that CUDA would choose. Raises Refused where none is left."""
    narrow = query.dtype in (torch.bfloat16, torch.float16)
    allowed = torch.backends.cuda
    if allowed.cudnn_sdp_enabled() and narrow:
        return "cudnn"
    if allowed.flash_sdp_enabled() and narrow and not masked:
        return "flash"
    if allowed.mem_efficient_sdp_enabled() and query.shape[1] == key.shape[1] and query.dtype != torch.float64:
        return "efficient"
    if allowed.math_sdp_enabled():
        return "math"
    raise Refused("No available kernel. Aborting execution.")


def check_generator(generator: torch.Generator | None, device: torch.device) -> None:
    """Raises Refused for a generator of another device."""
    if generator is not None and generator.device.type != device.type:
        raise Refused(f"expected a {device.type!r} device type for generator but found {generator.device.type!r}")


def _device_of_index(name: str, args: Sequence[Any], places: Places) -> torch.device:
    """An array of the device may be indexed from the processor, not the other way round."""
    device = places.of(args[0])
    for index in args[1]:
        if index is not None and device == CPU and places.of(index) == CUDA:
            raise Refused(f"{name}: indices should be on the same device as the indexed tensor (cpu), found cuda")
    values = args[2] if len(args) > 2 else None
    if values is not None and values.ndim and places.of(values) != device:
        raise Refused(f"{name}: the values are on {places.of(values)}, the tensor that takes them on {device}")
    return device


def _is_refused(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and torch.are_deterministic_algorithms_enabled()


def _is_mixed(devices: Sequence[torch.device]) -> bool:
    return {CPU, CUDA} <= set(devices)


def _listed(inputs: Sequence[Tensor], devices: Sequence[torch.device]) -> str:
    return ", ".join(f"{list(tensor.shape)} on {device.type}" for tensor, device in zip(inputs, devices, strict=True))
