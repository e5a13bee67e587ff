"""The seal of a finished run: hashes of the files of its record, in status.json, so that a later change is noticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from align_lab.record import layout

SEALED = (layout.MANIFEST, layout.METRICS, layout.COMPACTED, layout.SAMPLES)


def seal(folder: str | os.PathLike[str]) -> dict[str, str]:
    """File -> hash of its content, of the files that there are."""
    paths = {name: os.path.join(folder, name) for name in SEALED}
    return {name: _hash(path) for name, path in paths.items() if os.path.exists(path)}


def changed(folder: str | os.PathLike[str], sealed: Mapping[str, str]) -> list[str]:
    """The files that are not what was sealed. A file that is gone has not been changed: what needs it says so."""
    now = seal(folder)
    return [name for name, value in sealed.items() if now.get(name, value) != value]


def _hash(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
