"""On which device each tensor lies, and how many bytes lie on the pretended one."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


class Places:
    """The storage of a tensor is marked, so that all its views lie on the same device."""

    def __init__(self) -> None:
        self.bytes = self.peak = 0  # on the pretended device, now and at most
        self.sizes: dict[int, int] = {}  # bytes of each storage there, by its identity

    def of(self, tensor: Tensor) -> torch.device:
        """The device of a tensor; `meta` stays `meta`."""
        storage = tensor.untyped_storage()
        if storage.device.type != "cpu":
            return storage.device
        return CUDA if getattr(storage, "is_pretended", False) else CPU

    def put(self, tensor: Tensor, device: torch.device) -> None:
        """Let the new storage of this tensor lie on `device`."""
        storage = tensor.untyped_storage()
        if device.type != "cuda" or storage.device.type != "cpu" or getattr(storage, "is_pretended", False):
            return
        storage.is_pretended = True
        self._note(storage._cdata, storage.nbytes())
        weakref.finalize(storage, self._note, storage._cdata, 0)

    def resized(self, storage: torch.UntypedStorage) -> None:
        """A storage has got another size."""
        if getattr(storage, "is_pretended", False):
            self._note(storage._cdata, storage.nbytes())

    def _note(self, storage: int, size: int) -> None:
        self.bytes += size - self.sizes.pop(storage, 0)
        if size:
            self.sizes[storage] = size
        self.peak = max(self.peak, self.bytes)


def tensors(*values: Any) -> list[Tensor]:
    """All tensors in these arguments, and in their lists, tuples and mappings."""
    within: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            within.append(value)
        elif isinstance(value, list | tuple):
            within += tensors(*value)
        elif isinstance(value, dict):
            within += tensors(*value.values())
    return within


def storages(all_of: Iterable[Tensor]) -> set[int]:
    """The identities of their storages."""
    return {tensor.untyped_storage()._cdata for tensor in all_of}


def as_device(device: Any) -> torch.device:
    """What a `device=` argument names; a number is that of a GPU."""
    return CUDA if isinstance(device, int) or torch.device(device).type == "cuda" else torch.device(device)
