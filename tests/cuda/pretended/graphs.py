"""CUDA graphs: the operators of a recording, which does not compute, and which are computed again at each replay.

What is recorded are operators with their arguments: numbers as they were, tensors as memory. So a replay is right only
if nothing but memory changes from one time to the next, which is what CUDA demands too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from tests.cuda.pretended.places import storages, tensors

if TYPE_CHECKING:
    from tests.cuda.pretended.machine import Machine


@dataclass
class Recording:
    """The operators of a graph, in order."""

    operators: list[tuple[Any, Any, Any, list[Tensor]]] = field(default_factory=list)  # function, arguments, outputs
    before: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)  # memory that was overwritten, and a copy
    own: set[int] = field(default_factory=set)  # memory that the graph itself has allocated

    def compute(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The operator's result, so that the recording can go on; what it overwrites is restored in the end."""
        arguments = zip(func._schema.arguments, args, strict=False)
        written = [value for one, value in arguments if one.alias_info is not None and one.alias_info.is_write]
        for tensor in tensors(written, kwargs):
            self._remember(tensor)
        known = storages(tensors(args, kwargs))
        out = computed(func, args, kwargs)
        new = [tensor for tensor in tensors(out) if tensor.untyped_storage()._cdata not in known]
        self.own |= {tensor.untyped_storage()._cdata for tensor in new}
        self.operators.append((func, args, kwargs, new))
        return out

    def _remember(self, tensor: Tensor) -> None:
        memory = tensor.untyped_storage()
        if memory._cdata not in self.own and memory._cdata not in self.before:
            whole = torch.empty(0, dtype=tensor.dtype).set_(memory)
            self.before[memory._cdata] = whole, whole.clone()

    def undo(self) -> None:
        """Nothing has been computed yet."""
        for memory, copy in self.before.values():
            memory.copy_(copy)

    def replay(self) -> None:
        """Compute all operators, from the memory as it is now."""
        with _disable_current_modes():
            for func, args, kwargs, outputs in self.operators:
                results = tensors(computed(func, args, kwargs))
                for output, result in zip(outputs, results if outputs else (), strict=True):
                    output.copy_(result)


def computed(func: Any, args: Any, kwargs: Any) -> Any:
    """The result, also of a product of narrow numbers in float32, for which the processor has no kernel."""
    if func is torch.ops.aten.mm.dtype:
        a, b, dtype = args
        return torch.mm(a.to(dtype), b.to(dtype))
    return func(*args, **kwargs)


class Graph:
    """torch.cuda.CUDAGraph"""

    machine: Machine  # of the class, which is one machine's

    def __init__(self) -> None:
        self.recording = Recording()

    def replay(self) -> None:
        """All operators, launched at once."""
        self.machine.counts.launch()
        self.recording.replay()


class Stream:
    """torch.cuda.Stream: there is only one."""

    def wait_stream(self, _: Stream) -> None:
        """Everything is in order."""


@contextmanager
def record(graph: Graph) -> Iterator[None]:
    """torch.cuda.graph"""
    machine = graph.machine
    machine.recording = graph.recording
    try:
        yield
    finally:
        machine.recording = None
        with _disable_current_modes():
            graph.recording.undo()
