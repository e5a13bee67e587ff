"""Temporary folders that survive nobody: the next process of the user removes those whose process was killed.

A process locks its folder, and the system releases the lock however the process ends. Temporary folders are local, so
that locks work there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "align_lab-scratch-"


@contextmanager
def scratch() -> Generator[Path]:
    """An empty temporary folder, which is removed at the end."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_unlocked(left)
    folder, lock = _locked()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked() -> tuple[Path, int]:
    """A new folder and the descriptor that locks it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():  # else another process took it for one that was left, before the lock
            return folder, lock
        os.close(lock)


def _remove_unlocked(folder: Path) -> None:
    with suppress(OSError):  # of another user, of a live process, or gone by now
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
