"""Memory available to one process: of its GPU, or the smallest limit of machine, job, container and ulimit."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align_lab.base.hardware import sharing

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class AvailableMemory:
    """The memory that one process may use, the size of its device or machine, and the limit that determines it."""

    gib: float
    device_gib: float
    source: str  # for messages

    def __str__(self) -> str:
        return f"{self.gib:.1f} GiB ({self.source})"


def requested(placement: Mapping[str, Any], *, gpu: bool) -> AvailableMemory | None:
    """The memory per process that a job requests, before it has a node; None if the config does not set it."""
    if gpu:
        name, size, usable = "gpu_memory_gib", placement["gpu_memory_gib"], 0.96
    else:
        size = placement["mem_gb"] and placement["mem_gb"] / placement["tasks_per_node"]
        name, usable = "mem_gb", 1.0
    if size is None:
        return None
    return AvailableMemory(gib=usable * size, device_gib=size, source=f"hardware.placement.{name}")


def measured(placement: Mapping[str, Any], *, gpu: bool) -> AvailableMemory:
    """The memory available to this process now: what is free, and in main memory also what it uses already."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 0)) or placement["tasks_per_node"]
    if gpu:
        import torch

        free, total = torch.cuda.mem_get_info()
        devices = max(torch.cuda.device_count(), placement["gpus_per_node"])  # a process may see its own alone
        per_device = -(-processes // devices) * sharing()
        return AvailableMemory(gib=free / GIB / per_device, device_gib=total / GIB, source="GPU")
    processes *= sharing()
    limits = dict(_limits())
    if placement["mem_gb"] is not None:
        limits["hardware.placement.mem_gb"] = placement["mem_gb"] * GIB
    source = min(limits, key=lambda name: limits[name])
    own = _address_space_limit()
    share = limits[source] / processes
    if own is not None and own < share:
        return AvailableMemory(gib=own / GIB, device_gib=own / GIB, source="ulimit -v")
    text = source if processes == 1 else f"{source}, shared by {processes}"
    return AvailableMemory(gib=share / GIB, device_gib=limits[source] / GIB, source=text)


def _limits() -> Iterator[tuple[str, float]]:
    """(name, bytes) of each limit on the memory of all processes of this run together."""
    meminfo = _table(Path("/proc/meminfo"))
    available = meminfo.get("MemAvailable", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    yield "machine", available + _table(Path("/proc/self/status")).get("VmRSS", 0)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        for folder in _cgroups():
            with suppress(OSError, ValueError):  # the file contains `max` if there is no limit
                yield "container", float((folder / limit).read_text()) - _used_by_others(folder / used)


def _used_by_others(used: Path) -> float:
    """Bytes used by other processes of the control group, without the file cache, which the kernel reclaims."""
    cache = 0.0
    with suppress(OSError, StopIteration):
        lines = (used.parent / "memory.stat").read_text().splitlines()
        cache = next(
            float(line.split()[1]) for line in lines if line.startswith(("inactive_file ", "total_inactive_file "))
        )
    resident = _table(Path("/proc/self/status")).get("VmRSS", 0)
    return max(0.0, float(used.read_text()) - cache - resident)


def _cgroups() -> Iterator[Path]:
    """The control groups of this process, from its own up to the root."""
    root = Path("/sys/fs/cgroup")
    own = ""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line for line in lines if line.startswith("0::"))[3:].strip("/")
    folder = root / own
    while folder != root:
        yield folder
        folder = folder.parent
    yield root


def _address_space_limit() -> float | None:
    """Bytes that this process may use under `ulimit -v`; None without such a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    status = _table(Path("/proc/self/status"))
    return soft - status.get("VmSize", 0) + status.get("VmRSS", 0)


def _table(path: Path) -> dict[str, int]:
    """A file with lines `Name: 12 kB`, as name -> bytes."""
    sizes = {}
    with suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, rest = line.partition(":")
            if rest.endswith("kB"):
                sizes[name] = 1024 * int(rest.split()[0])
    return sizes
