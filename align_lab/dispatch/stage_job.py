"""A stage as a job of its own: one artefact, and a record of how it went that `status` and dependent runs can read."""

from __future__ import annotations

import os
import socket
import time
import traceback
from pathlib import Path
from typing import Any

from align_lab.base.errors import AlignLabError, DataError, Stopped
from align_lab.base.files import write_json
from align_lab.base.paths import runs_folder
from align_lab.base.run_config import RunConfig
from align_lab.dispatch.plan import artefacts
from align_lab.record.console import Screen
from align_lab.record.layout import StudyLayout
from align_lab.run.watchdog import watched
from align_lab.stages.store import Stage, shared


def record_of(study: Path, name: str) -> Path:
    return StudyLayout(study).stage(name)


def stacks_of(record: Path) -> Path:
    return record.with_suffix(".stacks")


def build(name: str, cfg: RunConfig) -> int:
    """Build the artefact; its inputs first, where they are missing. Raises AlignLabError with the reason of a failure."""
    from align_lab.run import device

    device.use(cfg["hardware"]["numerics"])
    record = record_of(runs_folder() / cfg["study"], name)
    record.parent.mkdir(parents=True, exist_ok=True)

    def note(state: str, **fields: Any) -> None:
        where = {"host": socket.gethostname(), "pid": os.getpid(), "written": time.time()}
        write_json(record, {"name": name, "state": state, **where, **fields})

    note("running")
    try:
        with watched(stacks_of(record), minutes=cfg["hang_minutes"]) as watch:
            watch.beat("stages")
            artefact = shared(Screen(live=False)).get(_stage(name, cfg))
    except BaseException as error:
        note("stopped" if isinstance(error, Stopped) else "failed", error=f"{type(error).__name__}: {error}")
        if isinstance(error, Exception) and not isinstance(error, AlignLabError):
            traceback.print_exc()
            raise AlignLabError(f"the stage {name} failed: {type(error).__name__}: {error}") from error
        raise
    note("done", seconds=artefact.seconds)
    return 0


def _stage(name: str, cfg: RunConfig) -> Stage:
    """Raises DataError where the files that the artefact is made of are others than when the job was submitted."""
    known = artefacts(cfg)
    if name not in known:
        raise DataError(
            f"files that {name} is made of changed after the job was submitted: it would be {', '.join(known)} now. "
            "Give the command that submitted it again"
        )
    return known[name]
