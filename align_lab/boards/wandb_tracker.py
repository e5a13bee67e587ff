"""Weights & Biases: every run and every stage is a W&B run, grouped by study and arm.

A run that was killed and resumed continues the same W&B run. Without a key, it is stored offline in the run folder.
The key is read from the environment or from `wandb login`, never from a config.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import traceback
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from align_lab.base.errors import AlignLabError
from align_lab.base.files import read_json
from align_lab.base.registry import param, register
from align_lab.boards import wandb_history
from align_lab.boards.run_view import CompletionTable, Shown
from align_lab.boards.sinks import TrackedRecord

NAME = "wandb"
INIT_SECONDS = 300.0  # timeout of a server that does not answer; the run does not wait for it
SERVICE_SECONDS = 300  # wandb's own process may start slowly on a busy machine: it has a low priority
RETRY_SECONDS = (0, 1, 2, 4)  # waits before the server is asked again which rows it has: they may appear with a delay
UNFINISHED = ("stopped", "running")  # W&B's state `preempting`: more rows will follow


@register("record", NAME)
@dataclass(frozen=True, kw_only=True)
class Wandb(TrackedRecord):
    """Logging to W&B, which never changes a result and can neither fail nor slow a run."""

    tracker_name: ClassVar[str] = NAME
    package: ClassVar[str] = "wandb"
    retry_hint: ClassVar[str] = "Upload it later: align_lab wandb push {study}"

    entity: str | None = param(None, "user or team; null: the default of the owner of the key")
    mode: str = param(
        "auto",
        "auto: $WANDB_MODE, else online if there is a key, else offline",
        choices=("auto", "online", "offline", "disabled"),
    )

    def requested_mode(self) -> str:
        """`record.mode`, where auto stands for $WANDB_MODE."""
        return os.environ.get("WANDB_MODE", "auto") if self.mode == "auto" else self.mode

    def enabled(self) -> bool:
        """Is anything to be logged?"""
        return self.requested_mode() != "disabled"

    def tracker(self, folder: Path) -> WandbTracker:
        """The tracker of the run in this folder, whose training is this process' parent."""
        os.environ.pop("WANDB_SERVICE", None)  # of the program that started the study, perhaps on another node
        mode = self.requested_mode()
        online = mode == "online" or (mode != "offline" and has_key())
        return WandbTracker(folder, self.project, self.entity, online=online, measured_pid=os.getppid())


def has_key() -> bool:
    """Does wandb have a key? A malformed key counts as none."""
    from wandb.errors import AuthenticationError

    from align_lab.boards import wandb_key

    with suppress(AuthenticationError):
        return wandb_key.has_key()
    return False


def _ignore_stop() -> None:
    """Called when a user presses `stop` on the web page: wandb would interrupt this process, and not the run."""
    print(f"{NAME}: a run cannot be stopped from the web page. Type: align_lab cancel STUDY", flush=True)


def _check_disk(folder: Path) -> None:
    """Raises OSError for a full disk, which wandb does not report when it writes offline."""
    if shutil.disk_usage(folder).free < 1 << 16:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def in_sweep() -> bool:
    """Has `wandb agent` started this run? Then the agent chose project, id and part of the config."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))


class WandbTracker:
    """One W&B run, with `episode` as the x axis.

    W&B's own `step` is never set, because it cannot go back when a run is resumed: our step is a column.
    """

    name = NAME

    def __init__(
        self, folder: Path, project: str, entity: str | None, *, online: bool, measured_pid: int | None = None
    ) -> None:
        self.folder, self.project, self.entity = folder, project, entity
        self.online, self.measured_pid = online, measured_pid
        self.logs_stages = not in_sweep()  # where every W&B run would take the agent's id
        self.mode: Literal["online", "offline"] = "online" if online else "offline"
        self.logged = 0

    def run_id(self, run: Shown) -> str:
        """The id from `wandb agent` in a W&B sweep, else the stored id, else one that depends on the run alone."""
        if in_sweep():
            return os.environ.get("WANDB_RUN_ID") or run.id
        return read_json(self.folder / f"{NAME}.json").get("id") or run.id

    def open(self, run: Shown) -> Set[int]:
        """Create or resume the W&B run. Returns the steps whose rows the server has."""
        run_id = self.run_id(run)
        if not self.online:
            self._remove_offline(run_id)
        self.run = self._init(run, run_id)
        self.run.define_metric("episode", hidden=True)
        self.run.define_metric("*", step_metric="episode")
        steps = self._steps_on_server() if self.online and self.run.resumed else set[int]()
        self.logged = len(steps)
        return steps

    def _steps_on_server(self) -> set[int]:
        """Steps whose rows the server has.

        The server's own count may be larger than the number of rows that can be read yet, or that survived a failure.
        """
        steps, counted = set[int](), self.run.starting_step
        for seconds in RETRY_SECONDS:
            time.sleep(seconds)
            try:
                steps = {row["step"] for row in self.history()}
            except Exception:  # a key that may only write: assume that the server's count is right
                traceback.print_exc()
                return set(range(counted))
            if len(steps) >= counted:
                break
        return steps

    def _init(self, run: Shown, run_id: str) -> Any:
        os.environ.setdefault("WANDB__SERVICE_WAIT", str(SERVICE_SECONDS))
        import wandb

        return wandb.init(
            project=self.project,
            entity=self.entity,
            id=run_id,
            name=run.name,
            group=run.group,
            job_type=run.job_type,
            tags=run.tags,
            notes=run.notes,
            config=dict(run.config),
            allow_val_change=True,
            resume="allow" if self.online else None,
            mode=self.mode,
            reinit="create_new",
            dir=None if os.environ.get("WANDB_DIR") else str(self.folder.resolve()),
            settings=self._settings(run.job_type),
        )

    def _settings(self, job_type: str) -> Any:
        """No record of code, machine and packages, which the manifest has; system metrics of the training process."""
        import wandb

        measured_pid = self.measured_pid if job_type == "train" else None
        settings = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            save_code=False,
            init_timeout=INIT_SECONDS,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
            x_disable_stats=measured_pid is None,
            stop_fn=_ignore_stop,
        )
        if measured_pid is not None:
            settings.x_stats_pid = measured_pid
        return settings

    def _remove_offline(self, run_id: str) -> None:
        """Remove the offline run of an earlier attempt: it cannot be continued, so all rows are written again.

        Raises AlignLabError if it was uploaded: a second upload would duplicate the rows.
        """
        for old in (self._dir() / "wandb").glob(f"offline-run-*-{run_id}"):
            if list(old.glob("*.synced")):
                raise AlignLabError(f"{old} was uploaded by `wandb sync`, which cannot add to it")
            shutil.rmtree(old, ignore_errors=True)

    def _dir(self) -> Path:
        return Path(os.environ.get("WANDB_DIR") or self.folder)

    def description(self) -> dict[str, Any]:
        """What the run folder stores."""
        return {
            "id": self.run.id,
            "mode": self.mode,
            "project": self.run.project,
            "entity": self.run.entity,
            "url": self.run.url,
        }

    def location(self) -> str:
        """The web page, or the offline folder."""
        return self.run.url if self.online else f"offline in {Path(self.run.dir).parent}"

    def log(self, row: Mapping[str, float], table: CompletionTable | None) -> None:
        """Log one row with its table."""
        import wandb

        completions = (
            {} if table is None else {"completions": wandb.Table(columns=[*table.columns], data=[*table.rows])}
        )
        self.run.log({**row, **completions})
        self.logged += 1

    def close(self, summary: Mapping[str, Any], state: str) -> None:
        """Finish the W&B run, as preempting if more rows will follow."""
        self.run.summary.update(dict(summary))
        if state in UNFINISHED:
            self.run.mark_preempting()
        self.run.finish(exit_code=0 if state == "done" else 1)

    def count_rows(self) -> int:
        """Rows that the server returns, or rows that were logged if the key may not read.

        Raises OSError for a full disk.
        """
        if not self.online:
            _check_disk(self._dir())
            return self.logged
        rows = 0
        for seconds in RETRY_SECONDS:
            time.sleep(seconds)
            try:
                rows = len(self.history())
            except Exception:
                traceback.print_exc()
                return self.logged
            if rows >= self.logged:
                break
        return rows

    def history(self) -> list[dict[str, Any]]:
        """Every row of this run that the server has."""
        return wandb_history.logged_rows(f"{self.run.entity}/{self.run.project}/{self.run.id}")

    def project_location(self) -> str:
        """Server, entity and project; offline, the study."""
        import wandb

        study = self.folder.resolve().parent
        return f"{wandb.setup().settings.base_url}/{self.entity}/{self.project}" if self.online else f"{NAME} {study}"

    def log_stage(self, stage: Shown) -> None:
        """A stage is a W&B run without rows."""
        if not self.online:
            self._remove_offline(stage.id)
        run = self._init(stage, stage.id)
        run.summary.update(dict(stage.summary))
        run.finish()
