"""The GPU of a process and the libraries that compute on it, for the manifest. torch is not imported."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import Any

SECONDS = 20  # to wait for nvidia-smi
ATTENTION = {"flash": "flash_sdp_enabled", "efficient": "mem_efficient_sdp_enabled"}
ATTENTION |= {"math": "math_sdp_enabled", "cudnn": "cudnn_sdp_enabled"}


def accelerator() -> dict[str, str]:
    """What determines the results of a GPU besides torch: its name, driver, libraries, attention kernels.

    Empty where tensors are made on the processor.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None or torch.get_default_device().type != "cuda":
        return {}
    kernels = [name for name, enabled in ATTENTION.items() if getattr(torch.backends.cuda, enabled)()]
    found = {
        "gpu": torch.cuda.get_device_name(),
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "nccl": _nccl(torch),
        "attention": ", ".join(kernels),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def driver() -> str | None:
    """The version of NVIDIA's driver, where nvidia-smi is installed and answers."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.split("\n")[0].strip() or None


_driver = functools.cache(driver)  # it does not change in a process, and nvidia-smi may take a second


def _nccl(torch: Any) -> str | None:
    if not (torch.distributed.is_available() and torch.distributed.is_nccl_available()):
        return None
    return ".".join(map(str, torch.cuda.nccl.version()))
