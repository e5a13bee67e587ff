"""A run with more steps continues from a checkpoint of an equal run with fewer steps, and costs only the difference.

This is exact: at a constant learning rate, the longer run would have taken the same steps and logged the same rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align_lab.base.files import publishing, read_lines
from align_lab.base.hyperparameters import Budget
from align_lab.base.roles import role
from align_lab.base.run_config import RunConfig, leaves
from align_lab.record import records
from align_lab.record.folder import RunFolder
from align_lab.record.layout import RunLayout
from align_lab.train.checkpoint import Checkpoints


@dataclass(frozen=True)
class Start:
    """A checkpoint of another run, from which a run can start."""

    path: Path
    step: int


def inherit(folder: RunFolder, cfg: RunConfig, hashes: Mapping[str, Any]) -> Start | None:
    """Copy rows and newest checkpoint of the longest equal run of the study into the new folder; None if there is none.

    `hashes`: this run's content hashes (`hashes` of `manifest.json`); those of the other run must be equal.
    """
    if cfg.train.decay != "constant":
        return None
    others = folder.path.parent.glob(f"*-s{cfg.seed}-*")
    starts = [start for path in others if (start := _usable(path, cfg, hashes))]
    if not starts:
        return None
    longest = max(starts, key=lambda start: start.step)
    try:
        _copy(longest, folder)
    except (OSError, shutil.Error):  # the other run is still training, and has pruned that checkpoint
        folder.forget()
        return None
    return longest


def _copy(start: Start, folder: RunFolder) -> None:
    """Copy the rows first, because a checkpoint without its rows would be an incomplete record."""
    source, target = RunLayout(start.path), folder.at
    shutil.copyfile(source.metrics, target.metrics)
    shutil.copyfile(source.samples, target.samples)
    source_checkpoints, target_checkpoints = (Checkpoints(run.checkpoints) for run in (source, target))
    target_checkpoints.root.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source_checkpoints.best_file, target_checkpoints.best_file)
    best = target_checkpoints.best()
    for step in sorted({start.step if best is None else best, start.step}):  # the newest last: the run begins there
        with publishing(target_checkpoints.folder(step)) as partial:
            shutil.copytree(source_checkpoints.folder(step), partial, dirs_exist_ok=True)


def _usable(path: Path, cfg: RunConfig, hashes: Mapping[str, Any]) -> Start | None:
    """The newest checkpoint of the run at `path` whose state a run of this config would also reach, before its end."""
    layout = RunLayout(path)
    try:
        manifest, (status, _) = records.manifest(path), records.status(path)
        rows = {row["step"]: row for row in read_lines(layout.metrics)}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not status or not _is_equal(manifest, cfg, hashes):
        return None
    checkpoints = Checkpoints(layout.checkpoints)
    last = status["step"] if status["state"] == "done" else None
    newest = max((step for step in _kept(checkpoints, cfg, rows) if _is_usual(step, last, cfg)), default=0)
    return Start(path, newest) if newest else None


def _kept(checkpoints: Checkpoints, cfg: RunConfig, rows: Mapping[int, Mapping[str, float]]) -> list[int]:
    """Steps with a checkpoint, from the best step on, at which a run of this config would go on."""
    candidates = range(max(1, checkpoints.best() or 0), cfg.train.steps)
    kept = [step for step in checkpoints.steps() if step in candidates]
    return [step for step in kept if _within(cfg.train.budget, rows.get(step))]


def _is_usual(step: int, last: int | None, cfg: RunConfig) -> bool:
    """The last step of a run is evaluated at any number; in a longer run only a usual one would be. With
    `sampling.staleness`, a longer run would also have asked for its next completions before that step's update."""
    return step != last or (step % cfg.evaluation.every == 0 and not cfg.sampling.staleness)


def _is_equal(manifest: Mapping[str, Any], cfg: RunConfig, hashes: Mapping[str, Any]) -> bool:
    """Would a run of this config, made of these `hashes`, take the same steps as the run of the manifest?"""
    fields = _trajectory_fields(dict(leaves(cfg.values)))
    return _trajectory_fields(manifest["config"]) == fields and manifest["hashes"] == dict(hashes)


def _within(budget: Budget, row: Mapping[str, float] | None) -> bool:
    """Would a run with this budget continue after the row?"""
    limits = {"episode": budget.episodes, "budget/tokens": budget.tokens, "time/elapsed": budget.seconds}
    return row is not None and all(limit is None or row.get(column, 0) < limit for column, limit in limits.items())


def _trajectory_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that determine each step, but not the number of steps."""
    return {key: value for key, value in fields.items() if role(key) not in ("none", "budget")}
