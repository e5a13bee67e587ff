"""The device, threads and attention kernels of a process."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

import torch

from align_lab.base.contracts import Model
from align_lab.base.errors import ConfigError
from align_lab.base.hardware import Numerics, sharing
from align_lab.run.allocator import suit_tensors

STAGE_THREADS = 2  # of a tiny model's stages: 1.5 times as fast as one thread; more do not pay
LARGE = 1_000_000  # parameters; with fewer, threads wait for each other for longer than they compute

KERNELS = {"sdpa": "flash efficient eager", "flash": "flash efficient", "efficient": "efficient", "eager": "eager"}


def use(numerics: Numerics, *, tiny: bool = True) -> str:
    """Apply `hardware.numerics` to this process: tensors are created on its device by default. Returns the device.

    `tiny`: the model is so small that one thread is the fastest.

    Raises ConfigError when cuda is requested and torch finds no CUDA device.
    """
    suit_tensors()
    torch.set_num_threads(numerics.threads or (1 if tiny else cores()))
    device = numerics.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    _enable_attention(KERNELS[numerics.attention], device)
    if numerics.deterministic:
        _make_deterministic()
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "hardware.numerics.device=cuda needs a CUDA device, and torch finds none on this machine: use hardware=cpu"
        )
    if device == "cuda":  # each process of a node has its own device
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    if numerics.engine == "deepspeed":
        os.environ.setdefault("DS_ACCELERATOR", device)  # DeepSpeed reads it when it is first imported
    if device != torch.get_default_device().type:  # an explicit default device adds overhead to every torch call
        torch.set_default_device(device)
    return device


@contextmanager
def stage_threads(numerics: Numerics, model: Model) -> Generator[None]:
    """The threads with which stages are built: their batches are larger than those of a step of training."""
    before, shape = torch.get_num_threads(), model.shape()
    most = STAGE_THREADS if shape is not None and shape.parameters >= LARGE else 1
    torch.set_num_threads(numerics.threads or (min(most, cores()) if model.tiny else cores()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cores() -> int:
    """This process's share of the cores it may use: more threads than cores would compete for them."""
    return max(1, len(os.sched_getaffinity(0)) // (int(os.environ.get("LOCAL_WORLD_SIZE", 1)) * sharing()))


def _make_deterministic() -> None:
    """No algorithm whose result depends on the order in which threads finish: an operator that has no other raises.

    The variables are read by cuBLAS when it is first used, and by vLLM, also in the processes that it starts.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ["VLLM_BATCH_INVARIANT"] = "1"
    torch.use_deterministic_algorithms(True)
    fill = "fill_uninitialized_memory"  # not needed: all memory is written before it is read
    setattr(torch.utils.deterministic, fill, False)
    torch.backends.cudnn.benchmark = False


def _enable_attention(kernels: str, device: str) -> None:
    fused = "flash efficient" if device == "cpu" else "flash"  # the processor's only fused kernel goes by that name
    torch.backends.cuda.enable_flash_sdp(any(name in kernels for name in fused.split()))
    torch.backends.cuda.enable_mem_efficient_sdp("efficient" in kernels)
    torch.backends.cuda.enable_math_sdp("eager" in kernels)
    torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for every length, and is wrong below 8 heads of keys
