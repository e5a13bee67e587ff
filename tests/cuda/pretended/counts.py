"""Kernel launches, blocking waits and copied bytes, by line of the code under test."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path


class Counts:
    """Everything is counted for the innermost line of `project`."""

    def __init__(self, project: Path) -> None:
        self.project = str(project)
        self.launches, self.syncs = Counter[str](), Counter[str]()
        self.to_device, self.to_host = Counter[str](), Counter[str]()  # bytes
        self.attention = Counter[str]()  # calls by the kernel that CUDA would choose

    def clear(self) -> None:
        """Begin anew."""
        for counter in (self.launches, self.syncs, self.to_device, self.to_host, self.attention):
            counter.clear()

    def here(self) -> str:
        """`train/update.py:93`: the line that is being executed."""
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename.startswith(self.project):
                return f"{frame.f_code.co_filename.removeprefix(self.project).lstrip('/')}:{frame.f_lineno}"
            frame = frame.f_back
        return "elsewhere"

    def launch(self) -> None:
        """A kernel was launched."""
        self.launches[self.here()] += 1

    def sync(self) -> None:
        """The processor waited for the device."""
        self.syncs[self.here()] += 1

    def copy(self, size: int, *, to_device: bool) -> None:
        """Bytes were copied between processor and device; the processor waits for that."""
        (self.to_device if to_device else self.to_host)[self.here()] += size
        self.sync()
