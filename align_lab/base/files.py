"""Atomic writes, so that a reader never sees a partial file, and reading of JSON files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

PARTIAL = re.compile(r"\.(.+)\.[0-9a-f]{8}(?:\.old)?")  # the name of what is being written


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary file next to `path`; on success it is flushed to disk and replaces `path`, else it is removed."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def publishing(folder: Path) -> Generator[Path]:
    """A temporary folder next to `folder`; on success it replaces `folder`, on failure it is removed."""
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            aside = partial.with_name(f"{partial.name}.old")
            folder.rename(aside)
            partial.rename(folder)
            shutil.rmtree(aside)
        else:
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def leftovers(folder: Path, name: str = "*") -> list[Path]:
    """What processes that were killed while they wrote files or folders of this name (a glob) have left in `folder`."""
    return sorted(path for path in folder.glob(f".{name}.*") if PARTIAL.fullmatch(path.name))


def sweep(folder: Path, name: str = "*") -> None:
    """Remove them. What `publishing` had put aside comes back if its successor was not in place yet.

    Nobody else may be writing: hold the lease.
    """
    for path in leftovers(folder, name):
        final = folder / PARTIAL.sub(r"\1", path.name)
        with suppress(OSError):
            if path.name.endswith(".old") and not final.exists():
                path.rename(final)
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if the file is missing or invalid, or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file, without an incomplete last line, which a crash can leave."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(row, dict):
            break
        rows.append(cast("dict[str, Any]", row))
    return rows


def is_full(error: BaseException, folder: Path) -> bool:
    """True if an error was caused by a full disk or quota.

    Libraries wrap the system's error in their own classes, so the message and the disk are checked as well.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    hidden = any(text in str(error) for text in ("No space left", "os error 28", "file write failed"))
    return isinstance(error, Exception) and (hidden or (folder.exists() and shutil.disk_usage(folder).free < 1 << 16))
