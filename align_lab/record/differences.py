"""Compares the code and the files that a finished run used with those that the same config would use now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align_lab.base import made_of
from align_lab.base.files import read_json
from align_lab.record import manifest
from align_lab.record.layout import RunLayout

WORDS = {"source": "other code", "plugins": "other plug-in code", "files": "other files"}


def current_hashes(values: Mapping[str, Any]) -> dict[str, str]:
    """Current hashes of the code and the files that a run of this config uses. Call it after `registry.scan`."""
    return {"source": manifest.source_hash(), **made_of.of_run(values)}


def differences(run: Path, values: Mapping[str, Any]) -> str:
    """The end of a sentence that names what has changed since the run in the folder `run`; "" if nothing has.

    `values`: the run's config. Raises DataError when a file that it reads does not exist any more.
    """
    hashes = read_json(RunLayout(run).manifest).get("hashes")
    parts = differing(hashes, values) if isinstance(hashes, dict) and "source" in hashes else []
    return f", with {' and '.join(parts)}; remove its folder to run it again" if parts else ""


def differing(hashes: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """A phrase for each of code, plug-in code and files whose current hash differs from a manifest's `hashes`."""
    current = current_hashes(values)
    names = [name for name in sorted({*hashes, *current}) if name.rpartition(".")[2] in WORDS]
    return [
        f"{_word(name)} ({name} {hashes.get(name, 'none')}, now {current.get(name, 'none')})"
        for name in names
        if hashes.get(name) != current.get(name)
    ]


def _word(name: str) -> str:
    group, _, what = name.rpartition(".")
    return WORDS[what] + (f" of {group}" if group else "")
