"""The watchdog: a process that makes no progress within the time limit of its phase dumps its stack traces and exits.

The timer is Python's `faulthandler`, which runs in a C thread and fires even when every Python thread is blocked.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

PATIENCE = {"training": 1.0}  # time limit of a phase in multiples of `hang_minutes`
OTHERWISE = 8.0  # of the other phases, which report no progress


@dataclass(frozen=True)
class Watch:
    """The timer of one process. `file` receives the stack traces."""

    file: TextIO
    minutes: float

    def beat(self, phase: str) -> None:
        """Restart the timer after progress, with the time limit of `phase`."""
        seconds = 60 * self.minutes * PATIENCE.get(phase, OTHERWISE)
        faulthandler.dump_traceback_later(seconds, exit=True, file=self.file)


@contextmanager
def watched(stacks: Path, *, minutes: float) -> Generator[Watch]:
    """Inside the context, `beat` must be called in time; else stack traces go to `stacks` and the exit status is 1."""
    with stacks.open("w") as file:
        try:
            yield Watch(file, minutes)
        finally:
            faulthandler.cancel_dump_traceback_later()
    stacks.unlink(missing_ok=True)


def hung(stacks: Path) -> bool:
    """Did the watchdog end the last process that wrote to this file?"""
    return stacks.exists() and stacks.stat().st_size > 0
