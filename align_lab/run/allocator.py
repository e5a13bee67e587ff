"""Settings of the C library's memory allocator. Its defaults suit small objects and cost a model memory and time.

By default, freed memory is returned to the system and requested again at every step, and a new tensor rarely fits into
the gap that a tensor of its size has left, so that a step uses more memory than it needs. `benchmarks/allocator.py`
measures both effects.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)
NEVER, GIB = -1, 1 << 30


def suit_tensors() -> None:
    """Align large tensors to pages (huge pages where available), and keep freed memory for the next step.

    Call it before the first tensor is created. The user's THP_MEM_ALLOC_ENABLE has precedence. With a C library other
    than glibc only the alignment is set.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it when it creates its first tensor
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, GIB)
        ctypes.CDLL(None).mallopt(TRIM_THRESHOLD, NEVER)


def release_free_memory() -> None:
    """Return free memory to the system, when the tensors that follow have other sizes."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
