"""What a command has left on the disk: the record of its runs, and the names of all files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from align_lab.base.files import read_json, read_lines
from align_lab.train.checkpoint import Checkpoints
from tests.kills.forks import Place

RENAMED = re.compile(r"(?<=trusted/)\w+$|(?<=snapshots/)\w+.*")  # named after the folder, or the code
TIMED = ("device_seconds", "peak_memory_gib")  # what a run has spent of these differs from run to run
VARYING = re.compile(r"\.dispatch/(?!.*lease)[^.]|\.txt$|__pycache__")  # files that are named after processes and times


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything that must be equal: of each run the parts by name, and the names of all files but those of logs."""

    runs: dict[str, dict[str, Any]]
    names: frozenset[str]

    def differences(self, other: Record) -> list[str]:
        """Which parts of which run differ."""
        return [
            f"{run}: {part}"
            for run in sorted({*self.runs, *other.runs})
            for part in PARTS
            if self.runs.get(run, {}).get(part) != other.runs.get(run, {}).get(part)
        ]

    def leftovers(self, undisturbed: Record) -> list[str]:
        """The files that an undisturbed command does not leave."""
        return sorted(self.names - undisturbed.names)


def read(place: Place) -> Record:
    """The record of what was run here."""
    runs = {
        str(file.parent.relative_to(place.path)): _run(file.parent) for file in place.path.glob("runs/*/*/config.yaml")
    }
    return Record(runs=runs, names=frozenset(_names(place)))


PARTS = ("state", "rows", "samples", "weights", "best", "manifest", "table")


def _run(folder: Path) -> dict[str, Any]:
    status, manifest = read_json(folder / "status.json"), read_json(folder / "manifest.json")
    checkpoints = Checkpoints(folder / "checkpoints")
    spent = {name: value for name, value in manifest.get("spent", {}).items() if name not in TIMED}
    return {
        "state": {name: status.get(name) for name in ("state", "step", "episode", "score", "decides")},
        "rows": [
            {name: value for name, value in row.items() if not name.startswith("time/")}
            for row in read_lines(folder / "metrics.jsonl")
        ],
        "samples": (folder / "samples.jsonl").read_text() if (folder / "samples.jsonl").exists() else "",
        "weights": _weights(checkpoints),
        "best": read_json(checkpoints.best_file),
        "manifest": {"spent": spent, **{name: manifest.get(name) for name in ("hashes", "artefacts", "best_step")}},
        "table": sorted(status.get("sealed", {})),
    }


def _weights(checkpoints: Checkpoints) -> str:
    """A hash of the newest checkpoint's models and optimizer states."""
    digest = hashlib.sha256()
    steps = checkpoints.steps()
    for name, tensor in _tensors(checkpoints.read(steps[-1])["learner"]) if steps else ():
        digest.update(name.encode() + tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value.detach().reshape(-1)
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from _tensors(value[key], f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _tensors(item, f"{name}/{number}")
    else:
        yield f"{name}={json.dumps(value, default=str)}", torch.zeros(1)


def _names(place: Place) -> Iterator[str]:
    for path in place.path.rglob("*"):
        name = RENAMED.sub("*", str(path.relative_to(place.path)))
        if not VARYING.search(name):
            yield name
