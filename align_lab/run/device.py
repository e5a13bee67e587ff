"""The device and threads that a process computes with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from align_lab.base.errors import ConfigError
from align_lab.base.hardware import sharing
from align_lab.run.allocator import suit_tensors

KERNELS = {"sdpa": "flash efficient eager", "flash": "flash", "efficient": "efficient", "eager": "eager"}


def use(numerics: Mapping[str, Any], *, tiny: bool = True) -> str:
    """Make `hardware.numerics` this process' own: every tensor is born on its device. Returns the device.

    `tiny`: the model is so small that more than one thread would only wait.

    Raises ConfigError where cuda is asked for and torch sees none.
    """
    suit_tensors()
    torch.set_num_threads(numerics["threads"] or (1 if tiny else cores()))
    _attend_with(KERNELS[numerics["attention"]])
    device = numerics["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "hardware.numerics.device=cuda needs a CUDA device, and torch sees none on this machine: use hardware=cpu"
        )
    if device == "cuda":  # each process of a node has a device of its own
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    if numerics["engine"] == "deepspeed":
        os.environ.setdefault("DS_ACCELERATOR", device)  # read when it is first imported, by whomever
    if device != torch.get_default_device().type:  # a default that is set costs a little at every call
        torch.set_default_device(device)
    return device


def cores() -> int:
    """Cores of this process: of those that it may use, its part. More threads than cores would wait for each other."""
    return max(1, len(os.sched_getaffinity(0)) // (int(os.environ.get("LOCAL_WORLD_SIZE", 1)) * sharing()))


def _attend_with(kernels: str) -> None:
    torch.backends.cuda.enable_flash_sdp("flash" in kernels)
    torch.backends.cuda.enable_mem_efficient_sdp("efficient" in kernels)
    torch.backends.cuda.enable_math_sdp("eager" in kernels)
    torch.backends.cuda.enable_cudnn_sdp(kernels == KERNELS["sdpa"])
