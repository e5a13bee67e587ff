"""A lock across processes and machines: a file that names its owner and has a heartbeat.

It does not use flock, which many shared file systems lack. A lease whose owner died is taken over: at once if the owner
was a process of this machine, otherwise when its heartbeat is stale.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from align_lab.base.errors import ConfigError

STALE_SECONDS = 60.0
BEAT_SECONDS = 5.0
WAIT_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class _Holder:
    """What the file says of its owner. `began`: the start time of the process, in the kernel's clock ticks."""

    host: str
    where: str
    pid: int
    began: str | None


@contextmanager
def lease(path: Path, *, on_wait: Callable[[str], None]) -> Generator[bool]:
    """Yield True to the process that acquires the lease.

    Any other process calls `on_wait` with the owner, waits until the lease is released or stale, and gets False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while not _take(path):
        if stale(path):
            _break(path)
            continue
        on_wait(owner(path))
        while path.exists() and not stale(path):
            time.sleep(WAIT_SECONDS)
        yield False
        return
    _sweep(path)
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, done), daemon=True)
    beat.start()
    try:
        yield True
    finally:
        done.set()
        beat.join()
        if _is_mine(path):  # after a long suspension another process may have taken it over
            path.unlink(missing_ok=True)


@contextmanager
def exclusive(path: Path, refusal: Callable[[str], str]) -> Generator[None]:
    """This process alone holds the lease. Raises ConfigError(refusal(owner)) at once where another one does."""

    def refuse(owner: str) -> NoReturn:
        raise ConfigError(refusal(owner))

    with lease(path, on_wait=refuse) as acquired:
        if not acquired:
            refuse("another process")
        yield


def owner(path: Path) -> str:
    """The owner of a lease, for messages."""
    holder = _read(path)
    return f"process {holder.pid} on {holder.host}" if holder else "owner unknown"


def local_process(path: Path) -> int | None:
    """The live process of this machine that holds the lease; None where that is not certain.

    A file with any number in it could be written by anybody: the process has to be as old as the lease says.
    """
    holder = _read(path)
    if holder and holder.where == where() and holder.pid > 1 and _began(holder.pid) == holder.began is not None:
        return holder.pid
    return None


def stale(path: Path) -> bool:
    """True if the owner was a process of this machine and has ended, or if its heartbeat is too old to be alive.

    The heartbeat decides where the owner cannot be asked: on another machine, hidden from this user, or not legible.
    """
    try:
        beat = path.stat().st_mtime
    except OSError:
        return False  # released
    holder = _read(path)
    running = _runs(holder) if holder and holder.where == where() else None
    return not running if running is not None else now(path) - beat > STALE_SECONDS


def live(path: Path) -> bool:
    """True if a live process holds the lease."""
    return path.exists() and not stale(path)


def clear(path: Path) -> None:
    """Remove a lease whose owner has died, and what it has left beside it; one that is alive stays."""
    if not stale(path):
        return
    with suppress(OSError):  # of another user, who may remove it
        _break(path)
        _sweep(path)


def where() -> str:
    """This machine and its process-id namespace, which differs between containers."""
    with suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _read(path: Path) -> _Holder | None:
    """The owner; None where the file is empty, torn or not a lease."""
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        card = json.loads(path.read_text())
        pid, began = card["pid"], card.get("began")
        if type(pid) is int and pid > 0 and isinstance(began, str | None):
            return _Holder(host=str(card["host"]), where=str(card["where"]), pid=pid, began=began)
    return None


def _runs(holder: _Holder) -> bool | None:
    """Is it the live process that took the lease? Process ids are reused, e.g. after a reboot. None: unknown."""
    began = _began(holder.pid)
    if began is not None and holder.began is not None:
        return began == holder.began
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # a process of another user, of which nothing more is known
        return None
    return True


def now(path: Path) -> float:
    """The time by the clock that files beside this one are stamped with: on a network file system, the server's."""
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:  # a folder of another user
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()


def _began(pid: int) -> str | None:
    """The start time of a process in the kernel's clock ticks; None without /proc."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return None


def _is_mine(path: Path) -> bool:
    holder = _read(path)
    return holder is not None and holder.pid == os.getpid() and holder.where == where()


def _take(path: Path) -> bool:
    """Create the file with its content atomically, so that no process reads a partial file."""
    card = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    mine = _Holder(host=socket.gethostname(), where=where(), pid=os.getpid(), began=_began(os.getpid()))
    with card.open("w") as file:
        file.write(json.dumps(asdict(mine)))
        file.flush()
        os.fsync(file.fileno())  # a lease that is there is whole, also after a power failure
    try:
        os.link(card, path)
    except FileExistsError:
        return card.stat().st_nlink == 2  # a network file system may report the failure of a repeated, successful call
    finally:
        card.unlink()
    return True


def _beat(path: Path, done: threading.Event) -> None:
    while not done.wait(BEAT_SECONDS):
        with suppress(OSError):
            os.utime(path)


def _sweep(path: Path) -> None:
    """Remove what killed processes have left beside the lease: cards that never became it, and probes of the clock."""
    helper = re.compile(rf"\.?{re.escape(path.name)}\.[0-9a-f]{{8}}")
    for left in map(path.with_name, filter(helper.fullmatch, os.listdir(path.parent))):
        if stale(left):
            left.unlink(missing_ok=True)


def _break(path: Path) -> None:
    """Remove the lease of a dead owner; the rename succeeds for only one of several waiting processes."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if not stale(aside):  # a new owner took it between the check and the rename: restore it
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)
