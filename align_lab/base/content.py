"""Content hashes of local files; a large file is hashed again only if its metadata has changed.

Hashes are noted under the user's cache folder. Each file has a note that is replaced atomically, so that any number of
processes may write it. A note holds as long as size, modification time, change time and inode are what they were. The
change time is set by the system at every change of content, also when a program restores the modification time
(`os.utime`, `cp -p`). What cannot be noticed: a change on a file system that keeps no change time (some network mounts,
FUSE), below the file system or by direct writes to its device, or while the clock was set back to the same nanosecond.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from align_lab.base.errors import DataError
from align_lab.base.files import read_json, sha256, write_json
from align_lab.base.paths import cache_folder

SETTLED_SECONDS = 2.0  # a file modified more recently may change again within the resolution of its timestamps
SMALL = 1 << 20  # bytes; a smaller file is hashed as fast as its note is read


def content_hash(paths: Iterable[Path]) -> str:
    """Hash of files and whole folders: of names inside folders, and of contents. Hidden files are excluded.

    Raises DataError for a path that does not exist or cannot be read.
    """
    content = [(number, name, file_hash(file)) for number, path in enumerate(paths) for name, file in _inside(path)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """SHA-256 of a file, which is read only if there is no valid note. Raises DataError if it cannot be read."""
    try:
        before = _metadata(path)
        if before["size"] <= SMALL:
            return sha256(path)
        note, start = _note(path), time.time()
        stored = read_json(note)
        if stored.get("look") == before:
            return stored["sha256"]
        digest = sha256(path)
        settled = max(before["modified_ns"], before["changed_ns"]) / 1e9 < start - SETTLED_SECONDS
        if settled and _metadata(path) == before:
            with suppress(OSError):  # without a note, the file is hashed again next time
                note.parent.mkdir(parents=True, exist_ok=True)
                write_json(note, {"path": str(path), "look": before, "sha256": digest})
        return digest
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}. Check the path and its permissions. (This is machine "
            f"{socket.gethostname()}: a job reads files only from a file system that its node shares)"
        ) from error


def _metadata(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {
        "size": stat.st_size,
        "modified_ns": stat.st_mtime_ns,
        "changed_ns": stat.st_ctime_ns,
        "inode": stat.st_ino,
    }


def _note(path: Path) -> Path:
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
    return cache_folder() / "file_hashes" / f"{name}.json"


def _inside(path: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of a file, or of every file in a folder, links followed, in an order independent of the disk."""
    if not path.is_dir():
        yield path.name, path
        return
    entered = set[str]()
    for folder, inner, files in os.walk(path, followlinks=True):
        entered.add(os.path.realpath(folder))
        inner[:] = sorted(
            name
            for name in inner
            if not name.startswith(".") and os.path.realpath(os.path.join(folder, name)) not in entered
        )
        for file in sorted(name for name in files if not name.startswith(".")):
            yield (Path(folder) / file).relative_to(path).as_posix(), Path(folder) / file
