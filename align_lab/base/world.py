"""Collective operations of the processes of a run: rollouts are gathered and gradients summed, as in one process."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from align_lab.base.interface import gloo_interface

Record = TypeVar("Record")
Number = TypeVar("Number", int, float)
Item = TypeVar("Item")

BUCKET = 1 << 23  # numbers in one all-reduce of gradients
NO_END = timedelta(days=7)  # of waiting for another process, which may build, ask or write


@contextmanager
def joined(*, gpu_minutes: float | None = None) -> Generator[World]:
    """Join the process group that torchrun's variables describe, and leave it at the end; without them, no group.

    `gpu_minutes`: time limit of a collective operation of GPUs; None: that of all others, which has no end, because
    rank 0 may build stages, ask services or save while the others wait.

    Every optimizer imports torch._dynamo. If that happens after the group is initialized, torch._dynamo keeps the group
    and its threads until the process exits, which sometimes aborts it; so it is imported here first.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        yield World.current()
        return
    importlib.import_module("torch._dynamo")
    if interface := gloo_interface(os.environ):
        os.environ["GLOO_SOCKET_IFNAME"] = interface
    dist.init_process_group(backend(), timeout=NO_END)
    if gpu_minutes is not None and "nccl" in backend():
        limit_gpus(timedelta(minutes=gpu_minutes))
    try:
        yield World.current()
    finally:
        dist.destroy_process_group()


def ensure_group() -> None:
    """A group of this process alone, unless it has joined one: some libraries need a group."""
    if not dist.is_initialized():
        store = dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]
        dist.init_process_group(backend(), store=store, rank=0, world_size=1)


def backend() -> str:
    """The libraries of collective operations: NCCL for tensors of a GPU, gloo for those of the processor."""
    return "cpu:gloo,cuda:nccl" if torch.get_default_device().type == "cuda" else "gloo"


def limit_gpus(limit: timedelta) -> None:
    """Set the time limit of NCCL's operations: a process that waits longer for another one ends with an error."""
    group: Any = dist.distributed_c10d._get_default_group()  # pyright: ignore[reportPrivateUsage]
    group._get_backend(torch.device("cuda"))._set_default_timeout(limit)


def lost(error: BaseException) -> bool:
    """True if an error only reports that another process has exited; the libraries have no error class for it."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError)
        and any(word in str(error) for word in ("gloo/transport", "closed by peer", "NCCL"))
    )


@dataclass(frozen=True, kw_only=True)
class World:
    """Rank and world size. With one process, every collective operation returns its argument."""

    rank: int = 0
    size: int = 1
    group: Any = None  # of torch.distributed; None: the one that the processes have joined

    @classmethod
    def current(cls) -> World:
        """The torch.distributed group of this process, or a single process."""
        if dist.is_available() and dist.is_initialized():
            return cls(rank=dist.get_rank(), size=dist.get_world_size())
        return cls()

    def apart(self) -> World:
        """The same processes, whose operations do not meet those of this one, for a thread. All processes call it."""
        if self.size == 1:
            return self
        group = dist.new_group(backend="gloo", timeout=NO_END)  # pyright: ignore[reportUnknownMemberType]
        return replace(self, group=group)

    def broadcast(self, value: Any) -> Any:
        """The value of rank 0, in all processes."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.group)
        return values[0]

    def shard(self, items: Tensor) -> Tensor:
        """This process's shard of items [N]; shards are in rank order, and their sizes differ by at most one."""
        return items.tensor_split(self.size)[self.rank]

    def gather(self, record: Record) -> Record:
        """Concatenate the processes' dataclasses of tensors along the first axis, in rank order; numbers are summed."""
        if self.size == 1:
            return record
        assert dataclasses.is_dataclass(record) and not isinstance(record, type)
        values = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
        joined_values = {name: self._gather_value(value) for name, value in values.items()}
        return type(record)(**joined_values)  # type: ignore[return-value]

    def _gather_value(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.gather_tensor(value)
        if dataclasses.is_dataclass(value):
            return self.gather(value)
        if value is None:
            return None
        first, *others = self.concatenate([value])
        return sum(others, start=first)

    def gather_tensor(self, value: Tensor) -> Tensor:
        """[n ...] of each process -> [Σn ...]; sent as bytes, which all backends support, padded to equal length."""
        if self.size == 1:
            return value
        lengths = self.concatenate([len(value)])
        padded = value.new_zeros(max(lengths), *value.shape[1:])
        padded[: len(value)] = value
        parts = [torch.empty_like(padded) for _ in lengths]
        received = [part.view(torch.uint8) for part in parts]
        dist.all_gather(received, padded.view(torch.uint8), group=self.group)  # pyright: ignore[reportUnknownMemberType]
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    def concatenate(self, items: list[Item]) -> list[Item]:
        """The processes' lists, concatenated in rank order."""
        if self.size == 1:
            return items
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, items, group=self.group)  # pyright: ignore[reportUnknownMemberType]
        return [item for part in parts for item in part]

    def sum(self, value: int) -> int:
        """The sum of the processes' numbers."""
        return int(self._gather_value(value)) if self.size > 1 else value

    def max(self, value: Number) -> Number:
        """The largest of the processes' numbers."""
        if self.size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device="cpu")  # over gloo, where waiting has no limit
        dist.all_reduce(number, dist.ReduceOp.MAX, group=self.group)  # pyright: ignore[reportUnknownMemberType]
        return type(value)(number)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Sum the processes' tensors in place (all-reduce), in buckets, so that there is never a second copy of all."""
        if self.size == 1:
            return
        for bucket in buckets(tensors):
            self.begin_adding_up(bucket)()

    def begin_adding_up(self, bucket: Sequence[Tensor]) -> Callable[[], None]:
        """Begin to sum tensors of one dtype, of several processes; what is returned waits for it and puts the sums in
        place. Every process begins the same sums in the same order."""
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        handle = cast(Any, dist).all_reduce(flat, group=self.group, async_op=True)

        def wait() -> None:
            handle.wait()
            for tensor, part in zip(bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))

        return wait


def buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive tensors of one dtype, about `BUCKET` numbers in each bucket."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (sum(t.numel() for t in bucket) >= BUCKET or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
