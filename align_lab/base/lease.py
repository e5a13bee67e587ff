"""A lock across processes and machines: a file that names its owner and has a heartbeat.

It does not use flock, which many shared file systems lack. A lease whose owner died is taken over: at once if the owner
was a process of this machine, otherwise when its heartbeat is stale.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

STALE_SECONDS = 60.0
BEAT_SECONDS = 5.0


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
            time.sleep(0.2)
        yield False
        return
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


def owner(path: Path) -> str:
    """The owner of a lease, for messages."""
    with suppress(OSError, ValueError, KeyError):
        card = json.loads(path.read_text())
        return f"process {card['pid']} on {card['host']}"
    return "owner unknown"


def stale(path: Path) -> bool:
    """True if the owner was a process of this machine and has ended, or if its heartbeat is too old to be alive."""
    try:
        card = json.loads(path.read_text())
        if card["where"] == where():
            return not _runs(card["pid"], card.get("began"))
        return time.time() - path.stat().st_mtime > STALE_SECONDS
    except (OSError, ValueError, KeyError):
        return False


def live(path: Path) -> bool:
    """True if a live process holds the lease."""
    return path.exists() and not stale(path)


def where() -> str:
    """This machine and its process-id namespace, which differs between containers."""
    with suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _runs(pid: int, began: str | None) -> bool:
    """True if the process is alive and is the one that took the lease: process ids are reused, e.g. after a reboot."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # a process of another user has this id now
        return False
    return began is None or _began(pid) in (began, None)


def _began(pid: int) -> str | None:
    """The start time of a process in the kernel's clock ticks; None without /proc."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return None


def _is_mine(path: Path) -> bool:
    with suppress(OSError, ValueError, KeyError):
        card = json.loads(path.read_text())
        return card["pid"] == os.getpid() and card["where"] == where()
    return False


def _take(path: Path) -> bool:
    """Create the file with its content atomically, so that no process reads a partial file."""
    card = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    card.write_text(
        json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "began": _began(os.getpid()), "where": where()})
    )
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


def _break(path: Path) -> None:
    """Remove the lease of a dead owner; the rename succeeds for only one of several waiting processes."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if not stale(aside):  # a new owner took it between the check and the rename: restore it
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)
