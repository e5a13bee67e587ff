"""How tensors are placed in main memory. The system's defaults suit small objects; a model they cost memory and time.

What is freed goes back to the system and is asked for again at every step, and a new tensor mostly does not fit into the
hole that one of its size has left, so that a step fills more than it needs. `benchmarks/allocator.py` measures both.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)
NEVER, GIB = -1, 1 << 30


def suit_tensors() -> None:
    """Before the first tensor: large ones begin at a page, in huge pages where there are any; what is freed stays for the next step.

    A THP_MEM_ALLOC_ENABLE of the user's stays. A C library that is not glibc keeps its own way with freed memory.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch looks when it makes its first tensor
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, GIB)
        ctypes.CDLL(None).mallopt(TRIM_THRESHOLD, NEVER)


def hand_back() -> None:
    """What is free goes back to the system after all: what comes next has other sizes."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
