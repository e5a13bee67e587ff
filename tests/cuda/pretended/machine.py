"""What torch.cuda answers on the pretended machine, and the state of that machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import torch._dynamo
import torch.distributed as dist
from torch import Tensor
from torch.nn.utils import clip_grad
from torch.utils import _foreach_utils

from align_lab.base.paths import PACKAGE
from align_lab.models import packing
from tests.cuda.pretended.attention import varlen
from tests.cuda.pretended.counts import Counts
from tests.cuda.pretended.graphs import Graph, Recording, Stream, record
from tests.cuda.pretended.modes import both
from tests.cuda.pretended.places import CPU, CUDA, Places, as_device
from tests.cuda.pretended.rules import Refused

GIB = 2**30
os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"  # transformers: a thread that loads would not be seen
NAME = "Pretended H100"


class Machine:
    """The devices of a machine, of which a process uses one."""

    def __init__(self, *, gpus: int, gib: float, project: Path) -> None:
        self.gpus, self.gib = gpus, gib
        self.places, self.counts = Places(), Counts(project)
        self.default = CPU  # what torch.set_default_device has set
        self.latest = CPU  # the device of the latest operator
        self.destination: torch.device | None = None  # of a result that lies elsewhere than its operands
        self.fused = False  # inside a function that is one kernel on CUDA
        self.recording: Recording | None = None  # of a graph, while it is made
        self._devices: list[torch.device | None] = [CPU]

    @property
    def ambient(self) -> torch.device:
        """The device of an operator without inputs: that of the function it is part of; in a backward pass, that of
        the operator before it."""
        return self._devices[-1] or self.latest

    @contextmanager
    def within(
        self, device: torch.device | None, *, destination: torch.device | None = None, fused: bool = False
    ) -> Iterator[None]:
        """Inside a function of torch that computes on this device. destination: where its result lies, if elsewhere."""
        before = self.destination, self.fused
        if fused and not self.fused and device == CUDA and self.recording is None:
            self.counts.launch()
        self._devices.append(device)
        self.destination, self.fused = destination or self.destination, fused or self.fused
        try:
            yield
        finally:
            self._devices.pop()
            self.destination, self.fused = before

    def moved(self, tensor: Tensor, device: torch.device) -> Tensor:
        """A copy on `device`; the tensor itself if it is there."""
        place = self.places.of(tensor)
        if place == device:
            return tensor
        if place.type == "meta":
            raise Refused("Cannot copy out of meta tensor; no data!")
        self.counts.copy(tensor.nbytes, to_device=device == CUDA)
        with self.within(place, destination=device):
            return torch.clone(tensor)

    def set_default(self, device: Any) -> None:
        """torch.set_default_device"""
        self.default = CPU if device is None else as_device(device)

    def forget_peak(self, *_: Any) -> None:
        """torch.cuda.reset_peak_memory_stats"""
        self.places.peak = self.places.bytes

    def resizing(self, resize: Any) -> Any:
        """The method of a storage that gives it another size, with the bytes counted."""

        def resized(storage: Any, size: int) -> Any:
            out = resize(storage, size)
            self.places.resized(storage)
            return out

        return resized

    def cuda(self) -> dict[str, Any]:
        """Replacements for functions of torch.cuda."""
        state = torch.zeros(16, dtype=torch.uint8)
        total = int(self.gib * GIB)
        properties = SimpleNamespace(name=NAME, total_memory=total, major=9, minor=0, multi_processor_count=132)
        ignored = ("empty_cache", "synchronize", "manual_seed", "manual_seed_all", "set_device", "set_rng_state")
        return {name: lambda *_, **__: None for name in ignored} | {
            "is_available": lambda: True,
            "is_initialized": lambda: True,
            "device_count": lambda: self.gpus,
            "current_device": lambda: 0,
            "get_device_name": lambda *_: NAME,
            "get_device_properties": lambda *_: properties,
            "get_device_capability": lambda *_: (9, 0),
            "get_rng_state": lambda *_, **__: state,
            "mem_get_info": lambda *_: (total - self.places.bytes, total),
            "memory_allocated": lambda *_: self.places.bytes,
            "max_memory_allocated": lambda *_: self.places.peak,
            "reset_peak_memory_stats": self.forget_peak,
            "CUDAGraph": type("CUDAGraph", (Graph,), {"machine": self}),
            "graph": record,
            "Stream": Stream,
            "current_stream": lambda *_: Stream(),
            "stream": lambda _: nullcontext(),
        }

    def grouped(self, group: Any) -> Any:
        """torch's function that groups the tensors of an optimizer by device, with the pretended devices."""

        def by_device(lists: Any, with_indices: bool = False) -> Any:
            groups = group(lists, with_indices)
            firsts = [next(one for one in parts[0][0] if one is not None) for parts in groups.values()]
            keys = [(self.places.of(one), dtype) for one, (_, dtype) in zip(firsts, groups, strict=True)]
            return dict(zip(keys, groups.values(), strict=True))

        return by_device


@contextmanager
def pretended_cuda(*, gpus: int = 1, gib: float = 80.0, project: Path = PACKAGE) -> Iterator[Machine]:
    """A machine with CUDA, as this thread sees it inside the `with` block. Lines of `project` are counted.

    Several processes talk over gloo, where a machine with GPUs has NCCL.
    """
    machine = Machine(gpus=gpus, gib=gib, project=project)
    join = dist.init_process_group
    group = machine.grouped(_foreach_utils._group_tensors_by_device_and_dtype)
    with ExitStack() as opened:
        for change in (
            patch.multiple(torch.cuda, **machine.cuda()),
            patch.multiple(torch, set_default_device=machine.set_default, get_default_device=lambda: machine.default),
            patch.multiple(clip_grad, _group_tensors_by_device_and_dtype=group, _has_foreach_support=lambda *_: True),
            patch.multiple(_foreach_utils, _group_tensors_by_device_and_dtype=group),
            patch.object(torch.UntypedStorage, "resize_", machine.resizing(torch.UntypedStorage.resize_)),
            patch.object(packing, "together", lambda q, k, v, starts, _: varlen(machine, q, k, v, starts)),
            patch.multiple(dist, init_process_group=lambda _, **rest: join("gloo", **rest)),
        ):
            opened.enter_context(change)
        opened.enter_context(both(machine))
        yield machine
