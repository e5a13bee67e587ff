"""Runs to Weights & Biases from their own folders: one at a time, only what is missing, checked by reading it back."""

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
from align_lab.boards.wandb_board import API_SECONDS, NAME, PATIENCE, WandbBoard, history
from align_lab.record.folder import read_config

TABLE_ROWS = 64  # of a run whose record says nothing of it
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Pushed:
    """What became of one run. `problem` is empty when every row is there, once."""

    rows: int
    sent: int = 0
    problem: str = ""
    note: str = ""

    def __str__(self) -> str:
        told = f"{self.sent} rows sent, {self.rows - self.sent} were there"
        return "; ".join(part for part in (told, self.note, self.problem) if part)


def push(folder: Path, *, project: str | None = None, entity: str | None = None) -> Pushed:
    """Send what the server lacks of one run. Raises AlignLabError when the run feeds its board itself at this moment."""
    with feed.held(folder, NAME, on_wait=_refuse):
        sent, run = feed.Sent(folder, NAME), run_view.run(folder)
        board = _board(folder, sent.known, project, entity)
        rows = list(feed.Rows(folder, run.steps, read_config(folder)["record"].get("table_rows", TABLE_ROWS)).new())
        written, state = [row for row, _ in rows], read_json(folder / "status.json").get("state", "new")
        if _claims_all(sent.known, board, len(rows), state):
            found = difference(written, history(f"{sent.known['entity']}/{board.project}/{sent.known['id']}"))
            if not found.problem:
                return found
        there = board.open(run)
        sent.save(**board.about(), arrived=len(there))
        missing = [(row, table) for row, table in rows if row["step"] not in there]
        for row, table in missing:
            board.log(row, table)
        board.close(run_view.summary(written, read_json(folder / "manifest.json").get("best_step"), state), state)
        found = _read_back(board, written)
        if not found.problem:
            sent.save(arrived=len(rows), state=state, sent={key: written[-1][key] for key in ("step", "episode")})
        return replace(found, sent=len(missing))


def push_stages(runs: Sequence[Path], *, project: str | None = None, entity: str | None = None) -> int:
    """The stages of these runs that the server does not know. Returns how many were sent."""
    asked, sent = set[str](), 0
    for folder in runs:
        board = _board(folder, feed.Sent(folder, NAME).known, project, entity)
        for stage in run_view.stages(folder):
            if stage.id not in asked and not _knows(board, stage.id):
                board.stage(stage)
                sent += 1
            asked.add(stage.id)
    return sent


def _knows(board: WandbBoard, identity: str) -> bool:
    import wandb
    from wandb.errors import CommError

    path = "/".join(part for part in (board.entity, board.project, identity) if part)
    try:
        wandb.Api(timeout=API_SECONDS).run(path)
    except (ValueError, CommError):  # not there; a server that is dead says so at the next step
        return False
    return True


def _board(folder: Path, known: Row, project: str | None, entity: str | None) -> WandbBoard:
    """Where the run is, or is to be: as the command says, as it was shown before, or as its record says."""
    record = read_config(folder)["record"]
    before = known if known.get("mode") == "online" else {}
    return WandbBoard(
        folder,
        project or before.get("project") or record.get("project") or "align_lab",
        entity or before.get("entity") or record.get("entity"),
        online=True,
    )


def _claims_all(known: Row, board: WandbBoard, rows: int, state: str) -> bool:
    """Does the folder say that all of it has arrived, there and in this state? Then a look will do."""
    now = ("online", board.project, rows, state)
    return tuple(known.get(key) for key in ("mode", "project", "arrived", "state")) == now


def _read_back(board: WandbBoard, written: Sequence[Row]) -> Pushed:
    found = Pushed(0, problem="nothing was read back")
    for seconds in PATIENCE:
        time.sleep(seconds)
        there = board.history()
        found = difference(written, there)
        if not found.problem or len(there) > len(written):
            break
    return found


def difference(written: Sequence[Row], there: Sequence[Row]) -> Pushed:
    """Is each row there, once? Values may differ where an interrupted attempt had sent steps that were repeated."""
    there = sorted(there, key=lambda row: row["step"])
    ours, theirs = ([(row["step"], row["episode"]) for row in rows] for rows in (written, there))
    if ours != theirs:
        missing, known = len(set(ours) - set(theirs)), len(set(ours) & set(theirs))
        problem = f"{missing} of {len(ours)} rows are missing there, {len(theirs) - known} are there that should not be"
        return Pushed(len(ours), problem=problem)
    other = sum(not _equal(row, found) for row, found in zip(written, there, strict=True))
    note = f"{other} rows have the values of an interrupted attempt, whose steps were repeated" if other else ""
    return Pushed(len(ours), note=note)


def _equal(ours: Row, theirs: Row) -> bool:
    """All but the clock's columns, which differ when a step is repeated."""
    return all(
        key in theirs and math.isclose(value, theirs[key], rel_tol=1e-12)
        for key, value in ours.items()
        if not key.startswith("time/")
    )


def _refuse(owner: str) -> None:
    raise AlignLabError(f"it is sending its rows itself ({owner})")
