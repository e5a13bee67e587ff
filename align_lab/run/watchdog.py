"""A run that hangs must not hold a machine for hours: without a sign of progress in its phase's time it prints its stacks and ends.

The alarm is Python's own `faulthandler`: it rings in a thread of the interpreter, also when every Python thread is stuck.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

PATIENCE = {"training": 1.0}  # of `hang_minutes`; other phases report nothing on their way and get longer
OTHERWISE = 8.0


@dataclass(frozen=True)
class Watch:
    file: TextIO
    minutes: float

    def beat(self, phase: str) -> None:
        """A sign of progress: the time of this phase starts anew."""
        seconds = 60 * self.minutes * PATIENCE.get(phase, OTHERWISE)
        faulthandler.dump_traceback_later(seconds, exit=True, file=self.file)


@contextmanager
def watched(stacks: Path, *, minutes: float) -> Iterator[Watch]:
    """Inside, `beat` must be called in time: otherwise the stacks go to `stacks` and the process ends with status 1."""
    with stacks.open("w") as file:
        try:
            yield Watch(file, minutes)
        finally:
            faulthandler.cancel_dump_traceback_later()
    stacks.unlink(missing_ok=True)


def hung(stacks: Path) -> bool:
    """Did the last process that was watched with this file end because it hung?"""
    return stacks.exists() and stacks.stat().st_size > 0
