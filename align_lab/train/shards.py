"""A state in parts: every process has a slice of each large tensor, which it writes and, where it can, reads alone.

Slice r of n numbers over R processes is numbers r·c to (r+1)·c of the flattened tensor, c = ⌈n / R⌉, as ZeRO-3 has
them; of FSDP it is the process's rows. The slices of all ranks, in their order, are the tensor: so a state is read by
any number of processes and any engine, whatever number and engine have written it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from align_lab.base.world import World

SHAPE = "shape of a tensor in parts"  # the key of its entry in a state without large tensors


@dataclass(frozen=True)
class Slice:
    """This process's slice of a tensor that is to be written."""

    flat: Tensor
    shape: torch.Size  # of the whole tensor
    copied: bool = False  # no one else has its memory


@dataclass(frozen=True)
class Parts:
    """A tensor that was written in slices, and is read where it is used."""

    slices: Sequence[Tensor]  # in the order of the ranks that wrote them
    shape: torch.Size


def extent(numbers: int, world: World) -> tuple[int, int]:
    """The first number of this process's slice, and the one after its last."""
    size = -(-numbers // world.size)
    return min(numbers, world.rank * size), min(numbers, (world.rank + 1) * size)


def sliced(tensor: Tensor, world: World) -> Tensor | Slice:
    """This process's slice of a tensor that all processes have; the tensor itself in a single process."""
    if world.size == 1:
        return tensor
    start, end = extent(tensor.numel(), world)
    return Slice(tensor.reshape(-1)[start:end], tensor.shape)


def whole(value: Tensor | Parts) -> Tensor:
    """The whole tensor."""
    return torch.cat(list(value.slices)).view(value.shape) if isinstance(value, Parts) else value


def own(value: Tensor | Parts, world: World) -> Tensor:
    """This process's slice, flat. Nothing else is read."""
    return between(value, *extent(value.shape.numel(), world))


def between(value: Tensor | Parts, start: int, end: int) -> Tensor:
    """Numbers `start` to `end` of the flattened tensor. Nothing else is read."""
    if isinstance(value, Tensor):
        return value.reshape(-1)[start:end]
    found, position = [value.slices[0][:0]], 0
    for part in value.slices:
        found.append(part[max(0, start - position) : max(0, end - position)])
        position += len(part)
    return torch.cat(found)


def snapshot(state: Any) -> Any:
    """A copy of a nested state in main memory, which does not change while the training goes on."""
    if isinstance(state, Slice):
        return state if state.copied else Slice(_copy(state.flat), state.shape, copied=True)
    if isinstance(state, Tensor):
        return _copy(state)
    if isinstance(state, Mapping):
        return {key: snapshot(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(map(snapshot, state))
    return state


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def separated(state: Any, path: str = "") -> tuple[Any, dict[str, Tensor]]:
    """A nested state without its slices, in whose place their shapes stand; and the slices by path."""
    if isinstance(state, Slice):
        return {SHAPE: list(state.shape)}, {path: state.flat}
    if not isinstance(state, Mapping):
        return state, {}
    rest: dict[Any, Any] = {}
    slices: dict[str, Tensor] = {}
    for key, value in state.items():
        rest[key], of_key = separated(value, f"{path}/{key}")
        slices |= of_key
    return rest, slices


def assembled(state: Any, files: Sequence[Mapping[str, Tensor]], path: str = "") -> Any:
    """The inverse of `separated`: with `Parts` of the slices in the files, which are in the order of the ranks.

    Raises KeyError for a tensor that no file has.
    """
    if not isinstance(state, Mapping):
        return state
    if SHAPE in state:
        slices = [file[path] for file in files if path in file]
        shape = torch.Size(state[SHAPE])
        if sum(map(len, slices)) != shape.numel():
            raise KeyError(path)
        return Parts(slices, shape)
    return {key: assembled(value, files, f"{path}/{key}") for key, value in state.items()}


def plain(state: Any) -> Any:
    """A nested state with whole tensors in place of `Parts`."""
    if isinstance(state, Parts):
        return whole(state)
    return {key: plain(value) for key, value in state.items()} if isinstance(state, Mapping) else state


def of_ranks(states: Sequence[Any]) -> Any:
    """The whole state, from those of all processes, in the order of their ranks."""
    pairs = [separated(state) for state in states]
    return plain(assembled(pairs[0][0], [slices for _, slices in pairs]))
