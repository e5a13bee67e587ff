"""Work in forked processes, a few at once: each begins with what is imported here and leaves nothing behind."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def answers(
    tasks: Iterable[T], work: Callable[[T], str], *, at_once: int, seconds: float
) -> Iterator[tuple[T, str | None]]:
    """(task, `work(task)`), as they come; None for a process that ended, or took more seconds, without an answer."""
    waiting, started, more = iter(tasks), 0, True
    running: dict[int, tuple[T, int, Path, float]] = {}  # by the file descriptor of a process
    with tempfile.TemporaryDirectory() as folder:
        while more or running:
            for task in itertools.islice(waiting, at_once - len(running)):
                path, started = Path(folder) / str(started), started + 1
                pid = _start(task, work, path)
                running[os.pidfd_open(pid)] = (task, pid, path, time.monotonic() + seconds)
            more = len(running) == at_once
            ended = select.select(list(running), [], [], 1.0)[0]
            late = [one for one, (*_, end) in running.items() if time.monotonic() > end]
            for descriptor in {*ended, *late}:
                task, pid, path, _ = running.pop(descriptor)
                os.close(descriptor)
                _end(pid)
                yield task, path.read_text() if path.exists() else None


def _start(task: T, work: Callable[[T], str], path: Path) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            path.with_suffix(".part").write_text(work(task))
            path.with_suffix(".part").rename(path)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    return pid


def _end(pid: int) -> None:
    """End a process and those that it began, and collect it."""
    for end in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            end(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
