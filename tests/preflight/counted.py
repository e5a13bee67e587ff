"""Bytes of tensors, counted: those that are there after each operator of torch, and at most, in this thread."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.cuda.pretended.places import tensors


class Counted(TorchDispatchMode):
    """Inside the `with` block, every storage that an operator gives is known. What was there before is not counted.

    Libraries free and fill storages without an operator (FSDP), so their sizes are read anew after each one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {one.untyped_storage()._cdata for one in tensors(args, kwargs or {})}
        out = func(*args, **(kwargs or {}))
        for one in tensors(out):
            self.know(one, given)
        self.peak = max(self.peak, self.bytes())
        return out

    def know(self, tensor: Tensor, given: set[int] | None = None) -> None:
        """Count this tensor, unless its storage is that of an input."""
        storage = tensor.untyped_storage()
        if storage._cdata not in (given or set()) and storage.device.type == "cpu":
            self.storages[storage._cdata] = weakref.ref(storage)

    def bytes(self) -> int:
        """Those that are there now."""
        there = {key: storage for key, one in self.storages.items() if (storage := one()) is not None}
        self.storages = {key: self.storages[key] for key in there}
        return sum(storage.nbytes() for storage in there.values())

    def since(self) -> int:
        """Those that are there now; the peak begins anew."""
        self.peak = self.bytes()
        return self.peak
