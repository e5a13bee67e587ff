"""Two modes that watch torch: one its functions, which name devices, and one below it the operators, which compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode

from tests.cuda.pretended import rules
from tests.cuda.pretended.graphs import computed
from tests.cuda.pretended.places import CPU, CUDA, as_device, storages, tensors

if TYPE_CHECKING:
    from tests.cuda.pretended.machine import Machine

FROM_DATA = {torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor}
SCALARS = {getattr(torch.Tensor, f"__{name}__") for name in ("int", "float", "bool", "index", "complex")}
SCALARS |= {torch.Tensor.item, torch.Tensor.is_nonzero, torch.is_nonzero}  # in inference mode no operator shows them
ONE_KERNEL = {torch.rms_norm, F.rms_norm, F.scaled_dot_product_attention}  # on CUDA; here they are several operators


class Operators(TorchDispatchMode):
    """Every operator: its inputs must lie where CUDA demands it, and its new outputs lie there too."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        machine, kwargs = self.machine, kwargs or {}
        inputs = tensors(args, kwargs)
        device = rules.device_of_result(func, args, inputs, machine.places) if inputs else machine.ambient
        if rules.name_of(func) == "copy_" and machine.places.of(inputs[1]) != device:
            machine.counts.copy(inputs[1].nbytes, to_device=device == CUDA)
        known = storages(inputs)
        if machine.recording is not None and device == CUDA and rules.waits(func, args, kwargs, machine.places):
            raise rules.Refused("operation not permitted when stream is capturing")
        compute = machine.recording.compute if machine.recording is not None and device == CUDA else computed
        out = compute(func, args, kwargs)
        new = [tensor for tensor in tensors(out) if tensor.untyped_storage()._cdata not in known]
        target = machine.destination or device
        for tensor in new:
            machine.places.put(tensor, target)
        if device == CUDA and machine.destination is None:
            if rules.waits(func, args, kwargs, machine.places):
                machine.counts.sync()
            if not machine.fused and machine.recording is None and rules.launches(func, new=bool(new)):
                machine.counts.launch()
        if inputs:
            machine.latest = device
        return out


class Functions(TorchFunctionMode):
    """Every function of torch: it gets no device, which this build of torch lacks, and answers with the pretended."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine
        self.special: dict[Any, Callable[..., Any]] = {
            torch.Tensor.to: self._to,
            torch.Tensor.cuda: lambda t, *_, **__: machine.moved(t, CUDA),
            torch.Tensor.cpu: lambda t, *_, **__: machine.moved(t, CPU),
            torch.Tensor.device.__get__: machine.places.of,
            torch.Tensor.is_cuda.__get__: lambda t: machine.places.of(t) == CUDA,
            torch.Tensor.is_cpu.__get__: lambda t: machine.places.of(t) == CPU,
            torch.Tensor.tolist: self._tolist,
            torch.Tensor.numpy: self._numpy,
            torch.Tensor.__array__: self._numpy,
            torch.Tensor.__deepcopy__: self._deepcopy,
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in self.special:
            return self.special[func](*args, **kwargs)
        named = None if kwargs.get("device") is None else as_device(kwargs["device"])
        if named is not None and named.type != "meta":
            kwargs["device"] = "cpu"  # where the values really are
        kwargs.pop("pin_memory", None)  # this build of torch has no GPU to pin memory for
        inputs = tensors(args, kwargs)
        if func in _device_constructors():
            device = named or self.machine.default
        else:
            device = CUDA if any(self.machine.places.of(one) == CUDA for one in inputs) else CPU
        rules.check_generator(kwargs.get("generator"), device)
        if func in FROM_DATA:
            with self.machine.within(CPU):
                return self.machine.moved(func(*args, **kwargs), named or device)
        here: AbstractContextManager[None] = nullcontext()
        if func is F.scaled_dot_product_attention and device == CUDA:
            self._count_attention(*args, **kwargs)
            here = sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH])  # the kernels of the processor
        if func in SCALARS and device == CUDA:
            self.machine.counts.sync()
            with self.machine.within(device, destination=CPU):  # where operators are not counted: it may be one
                return func(*args, **kwargs)
        destination = None if func in _device_constructors() else named
        with self.machine.within(device, destination=destination, fused=func in ONE_KERNEL), here:
            return func(*args, **kwargs)

    def _count_attention(
        self, query: Tensor, key: Tensor, _: Tensor, attn_mask: Any = None, *__: Any, **___: Any
    ) -> None:
        kernel = rules.attention_kernel(query, key, masked=attn_mask is not None)
        self.machine.counts.attention[kernel] += 1

    def _to(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """`.to(device)`, `.to(dtype)`, `.to(other)` and their combinations."""
        like = next((one for one in [*args, kwargs.get("other")] if isinstance(one, Tensor)), None)
        devices = [one for one in args if isinstance(one, str | torch.device) or type(one) is int]
        dtypes = [one for one in args if isinstance(one, torch.dtype)]
        device = next(iter(devices), kwargs.get("device")) if like is None else self.machine.places.of(like)
        dtype = next(iter(dtypes), kwargs.get("dtype")) if like is None else like.dtype
        if device is not None and as_device(device).type == "meta":
            return tensor.to("meta")
        moved = tensor if device is None else self.machine.moved(tensor, as_device(device))
        copies = bool(kwargs.get("copy")) and moved is tensor
        with self.machine.within(self.machine.places.of(moved)):
            return torch.Tensor.to(moved, dtype=dtype or moved.dtype, copy=copies)

    def _tolist(self, tensor: Tensor) -> Any:
        if self.machine.places.of(tensor) == CUDA:
            self.machine.counts.copy(tensor.nbytes, to_device=False)
        return torch.Tensor.tolist(tensor)

    def _numpy(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.machine.places.of(tensor) == CUDA:
            raise rules.Refused("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        return torch.Tensor.numpy(tensor)

    def _deepcopy(self, tensor: Tensor, memo: Any) -> Any:
        copied = torch.Tensor.__deepcopy__(tensor, memo)
        self.machine.places.put(copied, self.machine.places.of(tensor))
        return copied


@contextmanager
def both(machine: Machine) -> Iterator[None]:
    """Watch everything inside the `with` block.

    In a backward pass, autograd calls Python without any mode of functions, and so without the default device. There
    `Functions` is entered anew, for the backward pass of a function and for what is computed once more.
    """

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with Functions(machine), machine.within(None), patch.object(machine, "default", CPU):
                return function(*args, **kwargs)

        return call

    class Frame(checkpoint._CheckpointFrame):
        def __init__(self, recompute_fn: Callable[..., Any], *others: Any) -> None:
            super().__init__(watched(recompute_fn), *others)

    backward = torch.autograd.function.BackwardCFunction
    with (
        patch.object(backward, "apply", watched(backward.apply)),
        patch.object(checkpoint, "_CheckpointFrame", Frame),
        Operators(machine),
        Functions(machine),
    ):
        yield
