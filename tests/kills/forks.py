"""A command in a fork of this process, which can be killed at any moment, and what becomes of the processes it starts.

Moments are of two kinds. Operations on files are counted by an audit hook, so that a kill can come between any two of
them, however fast the machine is. Seconds are those of the undisturbed command, and hit also what is being computed.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.forked import become

PATIENCE = 900.0  # seconds: only what does nothing is waited for so long, however slow the machine is
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree")
OWNER = "OWNER_OF_THIS_PROCESS"  # an environment variable, by which what a command has started is found
WRITES = os.O_WRONLY | os.O_RDWR


class Counter:
    """A number that this process shares with its forks."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    @property
    def value(self) -> int:
        return struct.unpack("q", self._shared[:8])[0]

    @value.setter
    def value(self, number: int) -> None:
        self._shared[:8] = struct.pack("q", number)


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folder in which a command is typed: with its runs, a cache, and temporary files of its own."""

    path: Path

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def temporary(self) -> Path:
        return self.path / "tmp"

    def environment(self, owner: str) -> dict[str, str]:
        """That of a command which is typed here."""
        own = {"ALIGN_LAB_CACHE": str(self.cache), "TMPDIR": str(self.temporary), OWNER: owner}
        return {**os.environ, **own, "PYTHONPATH": os.pathsep.join((str(self.path), os.environ.get("PYTHONPATH", "")))}


@dataclass(kw_only=True)
class Command:
    """A command that runs, or has ended. `operations`: how many operations on files it has made."""

    pid: int
    owner: str
    output: Path
    operations: Counter
    began: float = field(default_factory=time.monotonic)
    status: int | None = None  # as of subprocess: -9 after SIGKILL

    def poll(self) -> int | None:
        """Its status, once it has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status

    def wait(self, seconds: float = PATIENCE) -> bool:
        """Has it ended within these seconds?"""
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        return self.status is not None

    def kill(self) -> None:
        """End it as `kill -9` does."""
        end(self.pid)

    @property
    def text(self) -> str:
        """What it has printed."""
        return self.output.read_text(errors="replace")

    def started(self) -> list[int]:
        """The processes that it has started and that have not ended."""
        return list(_started(self.owner))

    def orphans(self, seconds: float = PATIENCE) -> list[int]:
        """The processes that it has started and that do not end of themselves within these seconds."""
        end = time.monotonic() + seconds
        while (left := self.started()) and time.monotonic() < end:
            time.sleep(0.02)
        return left


def end(pid: int) -> None:
    """Kill a process, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def start(
    words: Sequence[str],
    place: Place,
    *,
    kill_at: int = 0,
    prepare: Callable[[], None] = lambda: None,
) -> Command:
    """Do what `python -m align_lab WORDS` does, in a fork.

    kill_at: the number of the operation on files before which it kills itself; 0: none. `prepare` is called in the
    fork before the command.
    """
    place.temporary.mkdir(parents=True, exist_ok=True)
    output = place.path.parent / "output.txt"  # not on its disk, which may be full
    owner, operations = uuid.uuid4().hex, Counter()
    pid = os.fork()
    if not pid:
        _run(words, place, output, owner, _hook(operations, place, kill_at), prepare)
    return Command(pid=pid, owner=owner, output=output, operations=operations)


def _run(
    words: Sequence[str],
    place: Place,
    output: Path,
    owner: str,
    hook: Callable[[str, tuple[object, ...]], None],
    prepare: Callable[[], None],
) -> None:
    """The life of the fork."""
    status = 1
    try:
        with output.open("w") as file, open(os.devnull) as nothing:
            for number, stream in enumerate((nothing, file, file)):
                os.dup2(stream.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in enumerate("rww"))  # noqa: SIM115
        prepare()
        sys.addaudithook(hook)
        become({"env": place.environment(owner), "cwd": str(place.path), "words": list(words)})
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _hook(operations: Counter, place: Place, kill_at: int) -> Callable[[str, tuple[object, ...]], None]:
    """Counts the operations on files of the place, and ends the process before one of them."""
    inside = str(place.path)
    process = os.getpid()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        changes = event in CHANGES or (event == "open" and _writes(arguments))
        if not changes or os.getpid() != process or not _is_inside(arguments[0], inside):
            return
        operations.value += 1
        if operations.value == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def _writes(arguments: tuple[object, ...]) -> bool:
    return isinstance(arguments[2], int) and bool(arguments[2] & WRITES)


def _is_inside(path: object, folder: str) -> bool:
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
    return text.startswith(folder) or not text.startswith("/")


def _started(owner: str) -> Iterator[int]:
    """The live processes with this variable in their environment."""
    wanted = f"{OWNER}={owner}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)
