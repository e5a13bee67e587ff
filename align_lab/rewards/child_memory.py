"""The memory of a process and its descendants, read from /proc; 0 on systems without it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

GIB = 2**30


def resident(pid: int) -> int:
    """Bytes in main memory, of the process and of all that it has started."""
    return sum(map(_resident, _family(pid)))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):  # it has ended
        return 0


def _family(pid: int) -> list[int]:
    family, known = [pid], 0
    while known < len(family):
        with suppress(OSError):
            for task in Path(f"/proc/{family[known]}/task").iterdir():
                family += map(int, (task / "children").read_text().split())
        known += 1
    return family
