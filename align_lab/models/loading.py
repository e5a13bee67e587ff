"""The precision and the device in which weights are read, so that no other copy of them is ever made."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Target:
    """Where weights go. None: the precision in which they are stored, the device on which tensors are created."""

    dtype: torch.dtype | None = None
    device: torch.device | None = None

    @property
    def is_skeleton(self) -> bool:
        """Are weights left out? The model then has their shapes alone, on the device `meta`."""
        return self.device is not None and self.device.type == "meta"

    def stored(self, value: Tensor) -> Tensor:
        """A tensor of a file, of which nothing is read where weights are left out."""
        return value.to("meta") if self.is_skeleton else value

    def put(self, stored: Tensor) -> Tensor:
        """A copy of a stored tensor: first in this precision, then on this device."""
        value = stored if self.dtype is None else stored.to(self.dtype)
        device = self.device or torch.get_default_device()
        if device.type != "cpu":
            return value.to(device)
        return value.clone() if value is stored else value  # never memory of the file


AS_STORED = Target()
_TARGET: ContextVar[Target] = ContextVar("target", default=AS_STORED)


@contextmanager
def loading(dtype: torch.dtype, device: torch.device) -> Generator[None]:
    """Inside the context, models that can do so read their weights straight into this precision and onto this device.

    Everything else that is created goes to the processor, from which whoever loads the model moves it.
    """
    token = _TARGET.set(Target(dtype, device))
    try:
        if torch.get_default_device().type == "cpu":  # an explicit default device adds overhead to every torch call
            yield
        else:
            with torch.device("cpu"):
                yield
    finally:
        _TARGET.reset(token)


def target() -> Target:
    """Where weights are to be read to now."""
    return _TARGET.get()
