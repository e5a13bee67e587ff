"""New tensors are created on the device of the run by default (`run/device.py`), but not in hot loops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PROCESSOR = torch.device("cpu")


@contextmanager
def no_default_device() -> Iterator[None]:
    """Inside, every new tensor names its device: with a default device each call of torch passes through Python, which
    takes the processor 1.6 times as long to launch the kernels of a token."""
    device = torch.get_default_device()
    if device == PROCESSOR:
        yield
        return
    torch.set_default_device(None)
    try:
        yield
    finally:
        torch.set_default_device(device)
