"""What a finished run was made of, against what the same config would be made of today."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align_lab.base import made_of
from align_lab.base.files import read_json
from align_lab.record import manifest
from align_lab.record.layout import RunLayout

WORDS = {"source": "other code", "plugins": "other plug-in code", "files": "other files"}


def now(values: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the code and the files that a run of this config is made of, as they are now; after `registry.scan`."""
    return {"source": manifest.source_hash(), **made_of.of_run(values)}


def differences(run: Path, values: Mapping[str, Any]) -> str:
    """Names what of the finished run in the folder `run` is not as it would be now; "" where all is equal.

    `values`: the run's config. Raises DataError where a file that it reads is gone.
    """
    hashes = read_json(RunLayout(run).manifest).get("hashes", {})
    parts = differing(hashes, values) if "source" in hashes else []
    return f", with {' and '.join(parts)}; remove its folder to run it again" if parts else ""


def differing(hashes: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """A few words for each of code, plug-in code and files whose hash is another now than in a manifest's `hashes`."""
    ours = now(values)
    names = [name for name in sorted({*hashes, *ours}) if name.rpartition(".")[2] in WORDS]
    return [
        f"{_word(name)} ({name} {hashes.get(name, 'none')}, now {ours.get(name, 'none')})"
        for name in names
        if hashes.get(name) != ours.get(name)
    ]


def _word(name: str) -> str:
    group, _, what = name.rpartition(".")
    return WORDS[what] + (f" of {group}" if group else "")
