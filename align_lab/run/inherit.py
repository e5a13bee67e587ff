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

from align_lab.base.files import publishing, read_lines
from align_lab.base.roles import role
from align_lab.base.run_config import RunConfig, leaves
from align_lab.record.folder import RunFolder
from align_lab.record.layout import RunLayout
from align_lab.train.checkpoint import Checkpoints


@dataclass(frozen=True)
class Start:
    path: Path
    step: int


def inherit(folder: RunFolder, cfg: RunConfig, hashes: Mapping[str, Any]) -> Start | None:
    """Copy rows and a checkpoint of the longest equal run of the study into the new folder; None when there is none.

    `hashes`: what this run is made of, see `manifest.json`; the other must have been made of the same.
    """
    if cfg["train"]["decay"] != "constant":
        return None
    others = folder.path.parent.glob(f"*-s{cfg['seed']}-*")
    found = [start for path in others if (start := _usable(path, cfg, hashes))]
    if not found:
        return None
    best = max(found, key=lambda start: start.step)
    try:
        _copy(best, folder)
    except (OSError, shutil.Error):  # the other run goes on, and has pruned what was to be copied
        folder.forget()
        return None
    return best


def _copy(start: Start, folder: RunFolder) -> None:
    """Rows first: a checkpoint without its rows would be a record that is not whole."""
    source, target = RunLayout(start.path), folder.at
    shutil.copyfile(source.metrics, target.metrics)
    shutil.copyfile(source.samples, target.samples)
    theirs, ours = (Checkpoints(run.checkpoints) for run in (source, target))
    score = theirs.best()
    ours.root.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(theirs.best_file, ours.best_file)
    for step in {score, start.step} - {None}:
        with publishing(ours.folder(step)) as partial:
            shutil.copytree(theirs.folder(step), partial, dirs_exist_ok=True)


def _usable(path: Path, cfg: RunConfig, hashes: Mapping[str, Any]) -> Start | None:
    """The newest checkpoint of the run at `path` whose state this config would reach as well, before its end."""
    try:
        known = json.loads((RunLayout(path).manifest).read_text())
        status = json.loads((RunLayout(path).status).read_text())
        rows = {row["step"]: row for row in read_lines(RunLayout(path).metrics)}
    except (OSError, ValueError):
        return None
    if _path(known["config"]) != _path(dict(leaves(cfg.values))) or known["hashes"] != dict(hashes):
        return None
    kept = Checkpoints(RunLayout(path).checkpoints)
    last = status["step"] if status["state"] == "done" else None  # the last step is judged, whatever its number
    usual = (
        step
        for step in kept.steps()
        if 0 < step < cfg["train"]["steps"]
        and (step != last or step % cfg["evaluation"]["every"] == 0)
        and (kept.best() or 0) <= step
        and _within(cfg["train"]["budget"], rows.get(step))
    )
    newest = max(usual, default=0)
    return Start(path, newest) if newest else None


def _within(budget: Mapping[str, Any], row: Mapping[str, float] | None) -> bool:
    """Would a run of this budget have gone on after the row?"""
    columns = {"episodes": "episode", "tokens": "budget/tokens", "seconds": "time/elapsed"}
    limits = {columns[name]: limit for name, limit in budget.items() if limit is not None}
    return row is not None and all(row.get(column, 0) < limit for column, limit in limits.items())


def _path(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What decides each step, whatever their number."""
    return {key: value for key, value in fields.items() if role(key) not in ("none", "budget")}
