"""How much memory one process may fill: of its GPU, or of the machine, the job, the container it runs in."""

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
class Room:
    """`gib` is what a process may fill, of `whole` that the device has; `of` names it for a reader."""

    gib: float
    whole: float
    of: str

    def __str__(self) -> str:
        return f"{self.gib:.1f} GiB ({self.of})"


def asked(placement: Mapping[str, Any], *, gpu: bool) -> Room | None:
    """The room that a job asks for, before it has a machine; None where the config does not tell it."""
    if gpu:
        size = placement["gpu_memory_gib"]
        return None if size is None else Room(gib=0.96 * size, whole=size, of="hardware.placement.gpu_memory_gib")
    if placement["mem_gb"] is None:
        return None
    size = placement["mem_gb"] / placement["tasks_per_node"]
    return Room(gib=size, whole=size, of="hardware.placement.mem_gb")


def found(placement: Mapping[str, Any], *, gpu: bool) -> Room:
    """The room of this process, now. On a GPU what is free; in main memory also what the process holds already."""
    together = int(os.environ.get("LOCAL_WORLD_SIZE", 0)) or placement["tasks_per_node"]
    if gpu:
        import torch

        free, whole = torch.cuda.mem_get_info()
        here = -(-together // torch.cuda.device_count()) * sharing()
        return Room(gib=free / GIB / here, whole=whole / GIB, of="GPU")
    together *= sharing()
    limits = dict(_limits())
    if placement["mem_gb"] is not None:
        limits["hardware.placement.mem_gb"] = placement["mem_gb"] * GIB
    of = min(limits, key=lambda name: limits[name])
    own = _own_limit()
    share = limits[of] / together
    if own is not None and own < share:
        return Room(gib=own / GIB, whole=own / GIB, of="ulimit -v")
    return Room(gib=share / GIB, whole=limits[of] / GIB, of=of if together == 1 else f"{of}, shared by {together}")


def _limits() -> Iterator[tuple[str, float]]:
    """Bytes that all processes of this run together may hold, by what limits them."""
    told = _table(Path("/proc/meminfo"))
    available = told.get("MemAvailable", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    yield "machine", available + _table(Path("/proc/self/status")).get("VmRSS", 0)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        for folder in _cgroups():
            with suppress(OSError, ValueError):  # `max`: none
                yield "container", float((folder / limit).read_text()) - _cached_apart(folder / used)


def _cached_apart(used: Path) -> float:
    """Bytes that others of the group hold: this process' own and the file cache, which gives way, are not counted."""
    cache = 0.0
    with suppress(OSError, StopIteration):
        lines = (used.parent / "memory.stat").read_text().splitlines()
        cache = next(
            float(line.split()[1]) for line in lines if line.startswith(("inactive_file ", "total_inactive_file "))
        )
    held = _table(Path("/proc/self/status")).get("VmRSS", 0)
    return max(0.0, float(used.read_text()) - cache - held)


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


def _own_limit() -> float | None:
    """Bytes that `ulimit -v` leaves this process resident, None without one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    told = _table(Path("/proc/self/status"))
    return soft - told.get("VmSize", 0) + told.get("VmRSS", 0)


def _table(path: Path) -> dict[str, int]:
    """`Name: 12 kB` lines -> bytes."""
    found = {}
    with suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, rest = line.partition(":")
            if rest.endswith("kB"):
                found[name] = 1024 * int(rest.split()[0])
    return found
