"""Several processes that act as one: rollouts are gathered, gradients summed, so the update is that of one process."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Record = TypeVar("Record")
Number = TypeVar("Number", int, float)


@contextmanager
def joined() -> Iterator[World]:
    """The group of the processes that were started together (torchrun's variables), joined and left again; alone without them."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        yield World.current()
        return
    backend = "cpu:gloo,cuda:nccl" if torch.get_default_device().type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(days=7))  # the others wait while the first builds a stage
    try:
        yield World.current()
    finally:
        dist.destroy_process_group()


def lost(error: BaseException) -> bool:
    """Does this error only say that another process has gone? The libraries have no kind of error for it."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError)
        and any(word in str(error) for word in ("gloo/transport", "closed by peer", "NCCL"))
    )


@dataclass(frozen=True, kw_only=True)
class World:
    """`size` processes of which this is number `rank`. Alone, every method returns what it was given."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> World:
        """The torch.distributed group that this process has joined, or a world of its own."""
        if dist.is_available() and dist.is_initialized():
            return cls(rank=dist.get_rank(), size=dist.get_world_size())
        return cls()

    def agree(self, value: Any) -> Any:
        """The first process' value, in all processes. All wait here for the first."""
        if self.size == 1:
            return value
        told = [value]
        dist.broadcast_object_list(told, src=0)
        return told[0]

    def share(self, items: Tensor) -> Tensor:
        """This process' part of items [N]: as many as the others', one more or less; in rank order they are the whole."""
        return items.tensor_split(self.size)[self.rank]

    def gather(self, record: Record) -> Record:
        """Join the processes' dataclasses of tensors along their first axis, in rank order; numbers are added up."""
        if self.size == 1:
            return record
        assert dataclasses.is_dataclass(record) and not isinstance(record, type)
        values = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
        return type(record)(**{name: self._gather_value(value) for name, value in values.items()})  # type: ignore[return-value]

    def _gather_value(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._gather_tensor(value)
        if dataclasses.is_dataclass(value):
            return self.gather(value)
        if value is None:
            return None
        everyone: list[Any] = [None] * self.size
        dist.all_gather_object(everyone, value)
        return sum(everyone[1:], start=everyone[0])

    def _gather_tensor(self, value: Tensor) -> Tensor:
        everyone: list[Any] = [None] * self.size
        dist.all_gather_object(everyone, value)
        return torch.cat(everyone)

    def total(self, value: int) -> int:
        """The sum of the processes' numbers."""
        return int(self._gather_value(value)) if self.size > 1 else value

    def most(self, value: Number) -> Number:
        """The largest of the processes' numbers."""
        if self.size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(number, dist.ReduceOp.MAX)
        return type(value)(number)

    def sum_(self, tensors: Iterable[Tensor]) -> None:
        """Add the processes' tensors up, in place, in one message."""
        tensors = list(tensors)
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))
