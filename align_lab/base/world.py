"""Several processes that act as one: rollouts are gathered, gradients summed, so the update is that of one process."""

from __future__ import annotations

import dataclasses
import importlib
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
Item = TypeVar("Item")

BUCKET = 1 << 23  # gradients sent at a time


@contextmanager
def joined() -> Iterator[World]:
    """The group of the processes that were started together (torchrun's variables), joined and left again; alone without them.

    Imported after the group was made, torch._dynamo (every optimiser does it) keeps the group and its threads to the end of the
    process, where they abort it now and then.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        yield World.current()
        return
    backend = "cpu:gloo,cuda:nccl" if torch.get_default_device().type == "cuda" else "gloo"
    importlib.import_module("torch._dynamo")

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

    def broadcast(self, value: Any) -> Any:
        """The first process' value, in all processes. All wait here for the first."""
        if self.size == 1:
            return value
        told = [value]
        dist.broadcast_object_list(told, src=0)
        return told[0]

    def shard(self, items: Tensor) -> Tensor:
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
        first, *others = self.concatenate([value])
        return sum(others, start=first)

    def _gather_tensor(self, value: Tensor) -> Tensor:
        """[n ...] of each process -> [Σn ...]; as bytes, which every backend can send, the shares made equally long."""
        lengths = self.concatenate([len(value)])
        padded = value.new_zeros(max(lengths), *value.shape[1:])
        padded[: len(value)] = value
        everyone = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather([part.view(torch.uint8) for part in everyone], padded.view(torch.uint8))
        return torch.cat([part[:length] for part, length in zip(everyone, lengths, strict=True)])

    def concatenate(self, items: list[Item]) -> list[Item]:
        """The processes' lists one after the other, in rank order."""
        if self.size == 1:
            return items
        everyone: list[Any] = [None] * self.size
        dist.all_gather_object(everyone, items)
        return [item for part in everyone for item in part]

    def sum(self, value: int) -> int:
        """The sum of the processes' numbers."""
        return int(self._gather_value(value)) if self.size > 1 else value

    def max(self, value: Number) -> Number:
        """The largest of the processes' numbers."""
        if self.size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(number, dist.ReduceOp.MAX)
        return type(value)(number)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Add the processes' tensors up, in place, in messages of about `BUCKET` numbers: never a second copy of them all."""
        if self.size == 1:
            return
        for bucket in buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            dist.all_reduce(flat)
            for tensor, part in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))


def buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type in turn, until they are `BUCKET` numbers."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (sum(t.numel() for t in bucket) >= BUCKET or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
