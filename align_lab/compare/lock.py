"""`comparison.lock`: what a comparison was made of, so that it can be made again and checked, hash by hash.

It holds the whole config of every run, the hashes of what was really used, and the scores that came of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from align_lab.base.errors import ConfigError
from align_lab.base.files import write_json
from align_lab.record.layout import RunLayout

NAME = "comparison.lock"
VERSION = 1
SCORES = ("eval/gold_score", "eval/score", "eval/kl", "eval/length")


def write(document: Mapping[str, Any], folders: Sequence[Path]) -> Path:
    """Lock the runs of the comparison beside its report."""
    names = sorted(name for arm in document["arms"] for name in arm["runs"])
    content = {
        "version": VERSION,
        "study": document["study"],
        "question": document["question"],
        "verdict": document["verdict"]["sentence"],
        "runs": [run(folders[0] / document["links"][name]) for name in names],
    }
    write_json(folders[0] / NAME, content)
    return folders[0] / NAME


def run(folder: Path) -> dict[str, Any]:
    """One run: how to make it, what it was made of, what came of it."""
    manifest = json.loads(RunLayout(folder).manifest.read_text())
    return {
        "name": folder.name,
        "signature": manifest["signature"],
        "choices": manifest["choices"],
        "config": manifest["config"],
        "hashes": manifest["hashes"],
        "code": manifest.get("code", {}),
        "versions": manifest.get("versions", {}),
        "scores": scores(folder),
    }


def scores(folder: Path) -> dict[str, float]:
    """Those of the last row."""
    *_, last = RunLayout(folder).metrics.read_text().splitlines()
    row = json.loads(last)
    return {key: row[key] for key in SCORES if key in row}


def read(path: Path) -> dict[str, Any]:
    """Raises ConfigError for a file that is no lock of this version."""
    path = path / NAME if path.is_dir() else path
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}. `python -m align_lab compare STUDY` writes runs/STUDY/{NAME}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a comparison lock ({error})") from None
    if not isinstance(content, dict) or content.get("version") != VERSION or not content.get("runs"):
        raise ConfigError(f"{path} is not a comparison lock of version {VERSION}")
    return content
