"""One owner at a time, across processes and machines: a file with its owner and a heartbeat.

No flock, which shared file systems lack. A lease whose owner died is taken over: at once when it was a process of this
machine, else when its heartbeat is old.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STALE_SECONDS = 60.0
BEAT_SECONDS = 5.0


@contextmanager
def lease(path: Path, *, on_wait: Callable[[str], None]) -> Iterator[bool]:
    """True for the one that holds it now. The others tell `on_wait` who does, wait here until it is free, and get False."""
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
        if _is_mine(path):  # after a long sleep somebody else may have taken it over
            path.unlink(missing_ok=True)


def owner(path: Path) -> str:
    with suppress(OSError, ValueError, KeyError):
        card = json.loads(path.read_text())
        return f"process {card['pid']} on {card['host']}"
    return "owner unknown"


def stale(path: Path) -> bool:
    """The owner was a process of this machine and is gone; or it cannot be asked, and there was no heartbeat for a while."""
    try:
        card = json.loads(path.read_text())
        if card["where"] == where():
            return not _runs(card["pid"], card.get("began"))
        return time.time() - path.stat().st_mtime > STALE_SECONDS
    except (OSError, ValueError, KeyError):
        return False


def live(path: Path) -> bool:
    """Does somebody hold it?"""
    return path.exists() and not stale(path)


def where() -> str:
    """This machine, and the process numbers that count in it: a container has its own."""
    with suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _runs(pid: int, began: str | None) -> bool:
    """Does the process live, and is it the one that took the lease? Numbers are used again, after a reboot for example."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's: not ours
        return False
    return began is None or _began(pid) in (began, None)


def _began(pid: int) -> str | None:
    """When the process was started, in the kernel's clock ticks; None where that is not told."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return None


def _is_mine(path: Path) -> bool:
    with suppress(OSError, ValueError, KeyError):
        card = json.loads(path.read_text())
        return card["pid"] == os.getpid() and card["where"] == where()
    return False


def _take(path: Path) -> bool:
    """Create the file with its content in one step: nobody ever reads half a card."""
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
    """Move a dead owner's lease away; of several waiters one succeeds, the others find it gone."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if not stale(aside):  # a new owner took it between the look and the rename: give it back
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)
