"""The watchdog: a process that makes no progress within the time limit of its phase dumps its stack traces and ends.

A small process beside it counts the time (`watchdog_clock.py`) and sends a signal, whose handler in C dumps the stacks
even when every Python thread is blocked. Time for which the process was stopped is not counted.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = {"training": 1.0}  # time limit of a phase in multiples of `hang_minutes`
OTHERWISE = 8.0  # of the other phases, which report no progress
SIGNAL = signal.SIGVTALRM  # which nobody uses, and which ends a process
CLOCK = Path(__file__).with_name("watchdog_clock.py")
FOR_THE_WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP)


class Watch:
    """The clock beside this process, which sends SIGNAL when `beat` was not called in time."""

    def __init__(self, stacks: Path, minutes: float) -> None:
        self.stacks, self.minutes = stacks, minutes
        self.phase, self.told = "", 0.0
        self.clock = self._start()

    def beat(self, phase: str) -> None:
        """Restart the clock after progress, with the time limit of `phase`; at most once a second in the same phase."""
        limit, now = 60 * self.minutes * PATIENCE.get(phase, OTHERWISE), time.monotonic()
        if phase == self.phase and now - self.told < min(1.0, limit / 10):
            return
        self.phase, self.told = phase, now
        if self.clock.poll() is not None:  # somebody has killed it
            self.clock = self._start()
        with suppress(OSError):  # a clock that is stopped reads later
            os.write(self._pipe, f"{limit} {phase}\n".encode())

    @property
    def _pipe(self) -> int:
        assert self.clock.stdin is not None
        return self.clock.stdin.fileno()

    def _start(self) -> subprocess.Popen[bytes]:
        """Signals that are sent to every process of a job are meant for the watched one."""
        command = [sys.executable, "-I", "-S", str(CLOCK), str(os.getpid()), str(int(SIGNAL)), str(self.stacks)]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_WATCHED)
        try:
            clock = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert clock.stdin is not None
        os.set_blocking(clock.stdin.fileno(), False)
        return clock

    def end(self) -> None:
        """End the clock, even one that is stopped."""
        self.clock.kill()
        self.clock.communicate()


@contextmanager
def watched(stacks: Path, *, minutes: float) -> Generator[Watch]:
    """Inside the context, `beat` must be called in time; else stacks go to the file and SIGNAL ends the process."""
    with stacks.open("w") as file:
        faulthandler.register(SIGNAL, file=file, all_threads=True, chain=True)
        watch = Watch(stacks, minutes)
        try:
            yield watch
        finally:
            watch.end()
            faulthandler.unregister(SIGNAL)
    stacks.unlink(missing_ok=True)


def hung(stacks: Path) -> bool:
    """Did the watchdog end the last process that wrote to this file?"""
    try:
        return stacks.stat().st_size > 0
    except OSError:  # there is none, or its folder cannot be read
        return False
