"""Runs to Weights & Biases from their own folders: one at a time, only what is missing, checked by reading it back."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align_lab.errors import AlignLabError
from align_lab.files import read_json
from align_lab.record import feed, shown
from align_lab.record.folder import read_config
from align_lab.record.wandb_sink import NAME, WandbBoard

PATIENCE = (0, 1, 2, 4, 8)  # seconds before each look at what has arrived: the server may need a moment
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Pushed:
    """What became of one run. `problem` is empty when every row is there, once."""

    rows: int
    sent: int
    problem: str = ""
    note: str = ""


def push(folder: Path, *, project: str | None = None, entity: str | None = None) -> Pushed:
    """Send what the server lacks of one run. Raises AlignLabError when the run feeds its board itself at this moment."""
    record = read_config(folder)["record"]
    project = project or record.get("project") or "align_lab"
    board = WandbBoard(folder, project, entity or record.get("entity"), online=True)
    with feed.held(folder, NAME, on_wait=_refuse):
        run, sent = shown.run(folder), feed.Sent(folder, NAME)
        rows = list(feed.Rows(folder, run.steps, record.get("table_rows", 64)).new())
        written = [row for row, _ in rows]
        state = read_json(folder / "status.json").get("state", "new")
        known = sent.known
        if (known.get("mode"), known.get("project"), known.get("arrived"), known.get("state")) == (
            "online",
            project,
            len(rows),
            state,
        ) and not (found := difference(written, there(board, known["id"], known["entity"]))).problem:
            return found
        first = board.open(run)
        sent.save(**board.about(), arrived=first)
        for row, table in rows[first:]:
            board.log(row, table)
        board.close(shown.summary(written, read_json(folder / "manifest.json").get("best_step"), state), state)
        found = _read_back(board, written)
        sent.save(arrived=len(rows) if not found.problem else first, state=state)
        return Pushed(len(rows), max(0, len(rows) - first), found.problem, found.note)


def push_stages(folder: Path, *, project: str | None = None, entity: str | None = None) -> None:
    """The stages of one run, where no run of its study has shown them."""
    record = read_config(folder)["record"]
    board = WandbBoard(
        folder, project or record.get("project") or "align_lab", entity or record.get("entity"), online=True
    )
    feed.show_stages(folder, board)


def _read_back(board: WandbBoard, written: Sequence[Row]) -> Pushed:
    found = Pushed(0, 0, "nothing was read back")
    for seconds in PATIENCE:
        time.sleep(seconds)
        found = difference(written, there(board, board.run.id, board.run.entity))
        if not found.problem:
            break
    return found


def there(board: WandbBoard, identity: str, entity: str) -> list[dict[str, Any]]:
    """Every row that the server has of a run, in its order."""
    import wandb

    run = wandb.Api(timeout=60).run(f"{entity}/{board.project}/{identity}")
    return [row for row in run.scan_history(use_cache=False) if "episode" in row]


def difference(written: Sequence[Row], there: Sequence[Row]) -> Pushed:
    """Is each row there, once, in order? Values may differ where an interrupted attempt had sent steps that were repeated."""
    ours, theirs = [row["episode"] for row in written], [row["episode"] for row in there]
    if ours != theirs:
        missing, extra = len(set(ours) - set(theirs)), len(theirs) - len(set(ours) & set(theirs))
        problem = f"{missing} of {len(ours)} rows are missing there, {extra} are there that should not be"
        return Pushed(len(ours), 0, problem)
    other = sum(not _equal(row, found) for row, found in zip(written, there, strict=True))
    note = f"{other} rows have the values of an interrupted attempt, whose steps were repeated" if other else ""
    return Pushed(len(ours), 0, "", note)


def _equal(ours: Row, theirs: Row) -> bool:
    """All but the clock's columns, which differ when a step is repeated."""
    return all(
        key in theirs and math.isclose(value, theirs[key], rel_tol=1e-12)
        for key, value in ours.items()
        if not key.startswith("time/")
    )


def _refuse(owner: str) -> None:
    raise AlignLabError(f"it is sending its rows itself ({owner})")
