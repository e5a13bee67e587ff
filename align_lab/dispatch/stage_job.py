"""A stage as a job of its own: it builds one artefact, and records how that went for `status` and dependent runs."""

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
    """The file with the state of a stage's last job in this study."""
    return StudyLayout(study).stage(name)


def stacks_of(record: Path) -> Path:
    """The file into which the watchdog dumps stack traces."""
    return record.with_suffix(".stacks")


def build(name: str, cfg: RunConfig) -> int:
    """Build the artefact, and its missing inputs first. Raises AlignLabError with the reason of a failure."""
    from align_lab.run import device

    device.use(cfg.hardware.numerics, tiny=cfg.model.tiny)
    record = record_of(runs_folder() / cfg.study, name)
    record.parent.mkdir(parents=True, exist_ok=True)

    def write(state: str, **fields: Any) -> None:
        process = {"host": socket.gethostname(), "pid": os.getpid(), "written": time.time()}
        write_json(record, {"name": name, "state": state, **process, **fields})

    write("running")
    try:
        with watched(stacks_of(record), minutes=cfg.hang_minutes) as watch:
            watch.beat("stages")
            with device.stage_threads(cfg.hardware.numerics, cfg.model):
                artefact = shared(Screen(live=False)).get(_stage(name, cfg))
    except BaseException as error:
        write("stopped" if isinstance(error, Stopped) else "failed", error=f"{type(error).__name__}: {error}")
        if isinstance(error, Exception) and not isinstance(error, AlignLabError):
            traceback.print_exc()
            raise AlignLabError(f"the stage {name} failed: {type(error).__name__}: {error}") from error
        raise
    write("done", seconds=artefact.seconds)
    return 0


def _stage(name: str, cfg: RunConfig) -> Stage:
    """Raises DataError where the files that the stage reads have changed since the job was submitted."""
    stages = artefacts(cfg)
    if name not in stages:
        raise DataError(
            f"files that {name} reads changed after the job was submitted: now it would be {', '.join(stages)}. "
            "Run the command that submitted it again"
        )
    return stages[name]
