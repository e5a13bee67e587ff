"""Uploading runs to Weights & Biases from their folders: one at a time, only missing rows, verified by download."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from align_lab.base.errors import AlignLabError
from align_lab.base.files import read_json
from align_lab.boards import feed, run_view
from align_lab.boards.wandb_history import API_SECONDS, logged_rows
from align_lab.boards.wandb_tracker import NAME, RETRY_SECONDS, WandbTracker
from align_lab.record.folder import read_config
from align_lab.record.layout import RunLayout

TABLE_ROWS = 64  # of a run whose record does not define it
Row = Mapping[str, Any]


@dataclass(frozen=True)
class PushResult:
    """What happened to one run. `problem` is empty if the server has every row exactly once."""

    rows: int
    sent: int = 0
    problem: str = ""
    note: str = ""

    def __str__(self) -> str:
        counts = f"{self.sent} rows sent, {self.rows - self.sent} were there"
        return "; ".join(part for part in (counts, self.note, self.problem) if part)


def push(folder: Path, *, project: str | None = None, entity: str | None = None) -> PushResult:
    """Send the rows of one run that the server is missing.

    Raises AlignLabError if the run is uploading its rows itself at this moment.
    """
    with feed.exclusive(folder, NAME, on_wait=_refuse):
        uploads, run = feed.UploadState(folder, NAME), run_view.run(folder)
        tracker = _tracker(folder, uploads.values, project, entity)
        table_rows = read_config(folder)["record"].get("table_rows", TABLE_ROWS)
        rows = list(feed.Rows(folder, run.steps, table_rows).new())
        written, status = [row for row, _ in rows], read_json(RunLayout(folder).status).get("state", "new")
        if _marked_complete(uploads.values, tracker, len(rows), status):
            path = f"{uploads.values['entity']}/{tracker.project}/{uploads.values['id']}"
            result = difference(written, logged_rows(path))
            if not result.problem:
                return result
        steps = tracker.open(run)
        uploads.save(**tracker.description(), arrived=len(steps))
        missing = [(row, table) for row, table in rows if row["step"] not in steps]
        for row, table in missing:
            tracker.log(row, table)
        tracker.close(run_view.summary(written, read_json(RunLayout(folder).manifest).get("best_step"), status), status)
        result = _verify(tracker, written)
        if not result.problem:
            last = {key: written[-1][key] for key in ("step", "episode")}
            uploads.save(arrived=len(rows), state=status, sent=last)
        return replace(result, sent=len(missing))


def push_stages(runs: Sequence[Path], *, project: str | None = None, entity: str | None = None) -> int:
    """Send the stages of these runs that the server is missing. Returns their number."""
    checked, sent = set[str](), 0
    for folder in runs:
        tracker = _tracker(folder, feed.UploadState(folder, NAME).values, project, entity)
        for stage in run_view.stages(folder):
            if stage.id not in checked and not _has_run(tracker, stage.id):
                tracker.log_stage(stage)
                sent += 1
            checked.add(stage.id)
    return sent


def _has_run(tracker: WandbTracker, run_id: str) -> bool:
    """Does the server have a run of this id?"""
    import wandb
    from wandb.errors import CommError

    path = "/".join(part for part in (tracker.entity, tracker.project, run_id) if part)
    try:
        wandb.Api(timeout=API_SECONDS).run(path)
    except (ValueError, CommError):  # no such run; a server that is dead fails at the next request
        return False
    return True


def _tracker(folder: Path, stored: Row, project: str | None, entity: str | None) -> WandbTracker:
    """The project of the run: from the command, else where it was logged before, else from its record."""
    record = read_config(folder)["record"]
    earlier = stored if stored.get("mode") == "online" else {}
    return WandbTracker(
        folder,
        project or earlier.get("project") or record.get("project") or "align_lab",
        entity or earlier.get("entity") or record.get("entity"),
        online=True,
    )


def _marked_complete(stored: Row, tracker: WandbTracker, rows: int, status: str) -> bool:
    """Does the run folder say that every row has arrived in this project? Then verification alone is enough."""
    expected = ("online", tracker.project, rows, status)
    return tuple(stored.get(key) for key in ("mode", "project", "arrived", "state")) == expected


def _verify(tracker: WandbTracker, written: Sequence[Row]) -> PushResult:
    """Compare the server's rows with those of the folder; rows may arrive with a delay."""
    result = PushResult(0, problem="nothing was read back")
    for seconds in RETRY_SECONDS:
        time.sleep(seconds)
        rows = tracker.history()
        result = difference(written, rows)
        if not result.problem or len(rows) > len(written):
            break
    return result


def difference(ours: Sequence[Row], theirs: Sequence[Row]) -> PushResult:
    """Does the server have each row exactly once?

    Values may differ for steps that an interrupted attempt had sent before they were repeated.
    """
    theirs = sorted(theirs, key=lambda row: row["step"])
    our_keys, their_keys = ([(row["step"], row["episode"]) for row in rows] for rows in (ours, theirs))
    if our_keys != their_keys:
        missing, common = len(set(our_keys) - set(their_keys)), len(set(our_keys) & set(their_keys))
        problem = (
            f"{missing} of {len(our_keys)} rows are missing there, {len(their_keys) - common} are there that should "
            "not be"
        )
        return PushResult(len(our_keys), problem=problem)
    changed = sum(not _equal(our_row, their_row) for our_row, their_row in zip(ours, theirs, strict=True))
    note = f"{changed} rows have the values of an interrupted attempt, whose steps were repeated" if changed else ""
    return PushResult(len(our_keys), note=note)


def _equal(ours: Row, theirs: Row) -> bool:
    """Are all values equal, except time measurements, which differ when a step is repeated?"""
    return all(
        key in theirs and math.isclose(value, theirs[key], rel_tol=1e-12)
        for key, value in ours.items()
        if not key.startswith("time/")
    )


def _refuse(owner: str) -> None:
    raise AlignLabError(f"the run is uploading its rows itself ({owner}). Wait until it has ended")
