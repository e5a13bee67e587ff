"""Runs as a comparison reads them: from their folders, whatever state they are in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align_lab.errors import ConfigError, near
from align_lab.files import read_lines
from align_lab.paths import runs_folder


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run. `fields` are the leaves of its resolved config."""

    name: str
    algo: str
    seed: int
    fields: Mapping[str, Any]
    hashes: Mapping[str, Any]  # what the config cannot say: content of artefacts, code, package versions
    spent: Mapping[str, Any]  # episodes, tokens, seconds
    start: Mapping[str, float]  # the metrics of step 0
    final: Mapping[str, float]  # the metrics of the last step


@dataclass(frozen=True)
class Unfinished:
    name: str
    why: str


def study_folder(study: str) -> Path:
    """A study by name (under runs/) or by path. Raises ConfigError with the near match when there is none."""
    for folder in (runs_folder() / study, Path(study)):
        if folder.is_dir():
            return folder
    known = [folder.name for folder in runs_folder().glob("*") if folder.is_dir()]
    raise ConfigError(f"there is no study {study!r} under {runs_folder().resolve()}: {near(study, known)}")


def read_study(folder: Path) -> tuple[list[Run], list[Unfinished]]:
    """Every run of a study; those that have not finished, or cannot be read, are named with the reason."""
    runs, unfinished = [], []
    for path in sorted(folder.iterdir()):
        if (path / "config.yaml").exists():
            found = read_run(path)
            (runs if isinstance(found, Run) else unfinished).append(found)  # type: ignore[arg-type]
    if not runs and not unfinished:
        raise ConfigError(f"{folder} holds no runs. Start one: python -m align_lab study={folder.name} algo=rloo")
    return runs, unfinished


def read_run(path: Path) -> Run | Unfinished:
    try:
        status = json.loads((path / "status.json").read_text())
        if status["state"] != "done":
            return Unfinished(
                path.name,
                f"{status['state']} at step {status.get('step', 0)}"
                + (f": {status['error']}" if status.get("error") else ""),
            )
        manifest = json.loads((path / "manifest.json").read_text())
        rows = read_lines(path / "metrics.jsonl")
        if not rows or "eval/gold_score" not in rows[-1]:
            return Unfinished(path.name, "its last row holds no evaluation: metrics.jsonl was cut short")
        return Run(
            name=path.name,
            algo=manifest["choices"]["algo"],
            seed=manifest["seed"],
            fields=manifest["config"],
            hashes=manifest["hashes"],
            spent=manifest["spent"],
            start=rows[0],
            final=rows[-1],
        )
    except FileNotFoundError as missing:
        return Unfinished(path.name, f"{Path(missing.filename).name} is missing")
    except (ValueError, KeyError, IndexError) as damaged:
        return Unfinished(path.name, f"its record cannot be read ({type(damaged).__name__}: {damaged})")
