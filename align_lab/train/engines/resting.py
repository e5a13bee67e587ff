"""What only an update needs leaves the device while another program has it: its values are in main memory meanwhile.

The storage of a tensor is emptied and filled again, so that views of it, the optimizer and the hooks of a library find
the tensors that they know.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, UntypedStorage

Storages = dict[int, UntypedStorage]  # by identity
Copies = dict[int, Tensor]  # identity of a storage -> its bytes


@dataclass
class Resting:
    """Storages without memory, and the values that they had: in memory that is pinned where there is a GPU, and that is
    kept for the next time, because pinning takes long."""

    empty: list[tuple[UntypedStorage, int]] = field(default_factory=list[tuple[UntypedStorage, int]])  # and their bytes
    copies: Copies = field(default_factory=Copies)

    def release(self, kept: Iterable[Tensor], dropped: Iterable[Tensor]) -> None:
        """Free the memory of these tensors on the device, with all that shares it. Those `dropped` are zeros later."""
        device = torch.get_default_device()
        to_keep, to_drop = _storages(kept, device), _storages(dropped, device)
        resting = {storage._cdata for storage, _ in self.empty}
        before = {key: copy for key, copy in self.copies.items() if key in resting}
        self.copies = before | {key: self._copy(key, storage, device) for key, storage in to_keep.items()}
        for storage in {**to_drop, **to_keep}.values():
            self.empty.append((storage, storage.nbytes()))
            storage.resize_(0)

    def restore(self) -> None:
        """Give all of them their memory and their values back."""
        device, empty, self.empty = torch.get_default_device(), self.empty, []
        for storage, size in empty:
            storage.resize_(size)
            values, copy = _bytes(storage, device), self.copies.get(storage._cdata)
            values.zero_() if copy is None else values.copy_(copy)

    def _copy(self, key: int, storage: UntypedStorage, device: torch.device) -> Tensor:
        """The bytes of a storage in main memory."""
        copy = self.copies.get(key)
        if copy is None or len(copy) != storage.nbytes():
            copy = torch.empty(storage.nbytes(), dtype=torch.uint8, device="cpu", pin_memory=device.type == "cuda")
        return copy.copy_(_bytes(storage, device))


def _storages(tensors: Iterable[Tensor], device: torch.device) -> Storages:
    """The storages of the tensors on this device, each once; one that cannot be emptied, as of a file, stays."""
    there = (tensor.untyped_storage() for tensor in tensors if tensor.device.type == device.type)
    return {storage._cdata: storage for storage in there if storage.nbytes() and storage.resizable()}


def _bytes(storage: UntypedStorage, device: torch.device) -> Tensor:
    """All bytes of a storage, as a tensor that shares it."""
    return torch.empty(0, dtype=torch.uint8, device=device).set_(storage)
