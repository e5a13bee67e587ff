"""Results of checks that take long, noted in the user's cache under a hash of what they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from align_lab.base.files import read_json, write_json
from align_lab.base.paths import cache_folder


def noted(parts: Sequence[Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` returns, from its note if there is one. `parts`: everything that the result depends on."""
    name = hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()[:32]
    note = cache_folder() / "data_checks" / f"{name}.json"
    if stored := read_json(note):
        return stored
    result = compute()
    with suppress(OSError):  # without a note, it is computed again next time
        note.parent.mkdir(parents=True, exist_ok=True)
        write_json(note, result)
    return result
