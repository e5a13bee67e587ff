"""`comparison.lock`: what a comparison was made of, so that it can be made again and checked, hash by hash.

It holds the whole config of every run that was used, the hashes of what was really used, and the scores that came of
it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from align_lab.base.errors import ConfigError
from align_lab.base.files import write_json
from align_lab.base.shapes import problem
from align_lab.compare.document import SCORE, Document
from align_lab.compare.names import displayed
from align_lab.compare.runs import deciding
from align_lab.record import records
from align_lab.record.layout import RunLayout

NAME = "comparison.lock"
VERSION = 1
GOING_ON = ("running", "stopped", "failed")  # of runs that the same command can still finish
BESIDE = (SCORE, "eval/kl", "eval/length")


class LockedRun(TypedDict):
    """One run: how to make it, what it was made of, what came of it."""

    name: str
    signature: str
    choices: dict[str, str]
    config: dict[str, Any]
    hashes: dict[str, Any]
    code: dict[str, Any]
    versions: dict[str, Any]
    scores: dict[str, float]


class Lock(TypedDict):
    """What the file holds."""

    version: int
    study: str
    question: str
    verdict: str
    runs: list[LockedRun]
    left_out: NotRequired[list[str]]  # finished runs that the comparison did not use: altered, twins, without a score


def write(document: Document, folders: Sequence[Path], *, place: Path | None = None) -> Path:
    """Lock the runs of the comparison beside its report, or in another place."""
    names = sorted(name for arm in document["arms"] for name in arm["runs"])
    content: Lock = {
        "version": VERSION,
        "study": document["study"],
        "question": document["question"],
        "verdict": displayed(document)["verdict"]["sentence"],
        "runs": [run(folders[0] / document["links"][name]) for name in names],
        "left_out": [run["name"] for run in document["unfinished"] if run["state"] not in GOING_ON],
    }
    path = (place or folders[0]) / NAME
    path.parent.mkdir(exist_ok=True)
    write_json(path, content)
    return path


def run(folder: Path) -> LockedRun:
    """A run's folder as a lock has it."""
    manifest = records.manifest(folder)
    return {
        "name": folder.name,
        "signature": manifest["signature"],
        "choices": manifest["choices"],
        "config": manifest["config"],
        "hashes": manifest["hashes"],
        "code": manifest.get("code", {}),
        "versions": manifest.get("versions", {}),
        "scores": scores(folder, deciding(manifest["config"])),
    }


def scores(folder: Path, metric: str) -> dict[str, float]:
    """Those of the last row: the metric that decides, and what should stand beside it."""
    *_, last = RunLayout(folder).metrics.read_text().splitlines()
    row = json.loads(last)
    return {key: row[key] for key in dict.fromkeys((metric, *BESIDE)) if key in row}


def read(path: Path) -> Lock:
    """Raises ConfigError for a file that is no lock of this version."""
    path = path / NAME if path.is_dir() else path
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}. `align_lab compare STUDY` writes runs/STUDY/{NAME}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a comparison lock ({error})") from None
    if wrong := problem(content, Lock) or ("" if content["runs"] else "it has no runs"):
        raise ConfigError(f"{path} is not a comparison lock: {wrong}. `align_lab compare STUDY` writes one")
    if content["version"] != VERSION:
        raise ConfigError(f"{path} is a comparison lock of version {content['version']}, and this is version {VERSION}")
    return cast(Lock, content)
