"""More steps later cost only the difference: a run starts from the checkpoint of an equal run that had fewer steps.

Nothing is approximate: at a constant learning rate, the longer run would have done the same steps, with the same rows.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align_lab.config import RunConfig, leaves
from align_lab.record import manifest
from align_lab.record.folder import RunFolder
from align_lab.roles import role
from align_lab.train.checkpoint import Checkpoints


@dataclass(frozen=True)
class Start:
    path: Path
    step: int


def inherit(folder: RunFolder, cfg: RunConfig) -> Start | None:
    """Copy rows and a checkpoint of the longest equal run of the study into the new folder; None when there is none."""
    if cfg["train"]["decay"] != "constant":
        return None
    found = [start for path in folder.path.parent.glob(f"*-s{cfg['seed']}-*") if (start := _usable(path, cfg))]
    if not found:
        return None
    best = max(found, key=lambda start: start.step)
    theirs, ours = (Checkpoints(path / "checkpoints") for path in (best.path, folder.path))
    score = theirs.best()
    for step in {best.step, score} - {None}:
        if step <= best.step:
            shutil.copytree(theirs.folder(step), ours.folder(step))
    if score is not None and score <= best.step:
        shutil.copyfile(theirs.root / "best.json", ours.root / "best.json")
    for rows in ("metrics.jsonl", "samples.jsonl"):
        shutil.copyfile(best.path / rows, folder.path / rows)
    return best


def _usable(path: Path, cfg: RunConfig) -> Start | None:
    """The newest checkpoint of the run at `path` whose state this config would reach as well."""
    try:
        known = json.loads((path / "manifest.json").read_text())
        status = json.loads((path / "status.json").read_text())
    except (OSError, ValueError):
        return None
    if _path(known["config"]) != _path(dict(leaves(cfg.values))) or known["hashes"]["source"] != manifest.source_hash():
        return None
    last = status["step"] if status["state"] == "done" else None  # the last step is judged, whatever its number
    usual = (
        step
        for step in Checkpoints(path / "checkpoints").steps()
        if 0 < step < cfg["train"]["steps"] and (step != last or step % cfg["evaluation"]["every"] == 0)
    )
    newest = max(usual, default=0)
    return Start(path, newest) if newest else None


def _path(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What decides each step, whatever their number."""
    return {key: value for key, value in fields.items() if role(key) not in ("none", "budget")}
