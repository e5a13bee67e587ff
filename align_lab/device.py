"""The device and threads that a process computes with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from align_lab.errors import ConfigError


def use(numerics: Mapping[str, Any]) -> str:
    """Make `hardware.numerics` this process' own: every tensor is born on its device. Returns the device.

    Raises ConfigError where cuda is asked for and torch sees none.
    """
    torch.set_num_threads(numerics["threads"])
    device = numerics["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "hardware.numerics.device=cuda needs a CUDA device, and torch sees none on this machine: use hardware=cpu"
        )
    if device == "cuda":  # each process of a node has a device of its own
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    if device != torch.get_default_device().type:  # a default that is set costs a little at every call
        torch.set_default_device(device)
    return device
