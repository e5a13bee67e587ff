"""Weights & Biases: each run one run there, grouped by study and arm, each stage one too.

A run that was killed and goes on continues its run there; without a key it is kept offline in the run's folder.
The key comes from the environment or from `wandb login`, never from a config.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import traceback
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from align_lab.base.errors import AlignLabError
from align_lab.base.files import read_json
from align_lab.base.registry import param, register
from align_lab.boards.run_view import COLUMNS, Shown
from align_lab.boards.sinks import Boarded

NAME = "wandb"
INIT_SECONDS = 60.0  # for a server that does not answer
API_SECONDS = 30
PATIENCE = (0, 1, 2, 4)  # seconds before each look at what has arrived: it may come a moment late
UNFINISHED = ("stopped", "running")  # preempted, in their words: more is to come


@register("record", NAME)
@dataclass(frozen=True, kw_only=True)
class Wandb(Boarded):
    """Nothing here changes a result, and nothing there can fail or slow a run."""

    board_name: ClassVar[str] = NAME
    package: ClassVar[str] = "wandb"
    later: ClassVar[str] = "Later: python -m align_lab wandb push {study}"

    entity: str | None = param(None, "user or team; null: the default one of the key's owner")
    mode: str = param(
        "auto",
        "auto: online where there is a key, else offline (and as $WANDB_MODE says)",
        choices=("auto", "online", "offline", "disabled"),
    )

    def asked(self) -> str:
        return os.environ.get("WANDB_MODE", "auto") if self.mode == "auto" else self.mode

    def enabled(self) -> bool:
        return self.asked() != "disabled"

    def board(self, folder: Path) -> WandbBoard:
        asked = self.asked()
        online = asked == "online" or (asked != "offline" and has_key())
        return WandbBoard(folder, self.project, self.entity, online=online, watched=os.getppid())


def has_key() -> bool:
    """Does wandb find a key by itself? What cannot be one is none."""
    from wandb.errors import AuthenticationError

    from align_lab.boards import wandb_key

    with suppress(AuthenticationError):
        return wandb_key.has_key()
    return False


def silence() -> None:
    """Keep wandb's own messages off the terminal, for commands that print their own."""
    import wandb

    wandb.setup(settings=wandb.Settings(silent=True))


def history(path: str) -> list[dict[str, Any]]:
    """Every row of ours that the server has of ENTITY/PROJECT/RUN, in its order."""
    import wandb

    scan = wandb.Api(timeout=API_SECONDS).run(path).scan_history(use_cache=False)
    return [row for row in scan if {"step", "episode"} <= row.keys()]


def _not_from_there() -> None:
    """Somebody has pressed `stop` there, which would interrupt this process and leave the run."""
    print(f"{NAME}: a run is not stopped from there. Type: python -m align_lab cancel STUDY", flush=True)


def _refuse_full(folder: Path) -> None:
    """Theirs does not say so when it could not write."""
    if shutil.disk_usage(folder).free < 1 << 16:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def in_sweep() -> bool:
    """Has `wandb agent` started this run? Then project, id and part of the config are the agent's."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))


class WandbBoard:
    """One run there. It is never given their `step`, which cannot go back: our step is a column, and the x axis is `episode`."""

    name = NAME

    def __init__(
        self, folder: Path, project: str, entity: str | None, *, online: bool, watched: int | None = None
    ) -> None:
        self.folder, self.project, self.entity = folder, project, entity
        self.online, self.watched = online, watched
        self.shows_stages = not in_sweep()  # there every run takes the id of the agent
        self.mode: Literal["online", "offline"] = "online" if online else "offline"
        self.logged = 0

    def identity(self, run: Shown) -> str:
        """The agent's id in a sweep of theirs; else what this run was called before, or would always be called."""
        if in_sweep():
            return os.environ.get("WANDB_RUN_ID") or run.id
        return read_json(self.folder / f"{NAME}.json").get("id") or run.id

    def open(self, run: Shown) -> Set[int]:
        identity = self.identity(run)
        if not self.online:
            self._forget_offline(identity)
        self.run = self._init(run, identity)
        self.run.define_metric("episode", hidden=True)
        self.run.define_metric("*", step_metric="episode")
        there = self._there() if self.online and self.run.resumed else set[int]()
        self.logged = len(there)
        return there

    def _there(self) -> set[int]:
        """Steps whose rows the server has. Its own count may be ahead of what it lets us read, or, after a loss, of what it has."""
        found, counted = set[int](), self.run.starting_step
        for seconds in PATIENCE:
            time.sleep(seconds)
            try:
                found = {row["step"] for row in self.history()}
            except Exception:  # a key that may write and not read: each of our rows was one of theirs
                traceback.print_exc()
                return set(range(counted))
            if len(found) >= counted:
                break
        return found

    def _init(self, shown: Shown, identity: str) -> Any:
        import wandb

        return wandb.init(
            project=self.project,
            entity=self.entity,
            id=identity,
            name=shown.name,
            group=shown.group,
            job_type=shown.job_type,
            tags=shown.tags,
            notes=shown.notes,
            config=dict(shown.config),
            allow_val_change=True,
            resume="allow" if self.online else None,
            mode=self.mode,
            reinit="create_new",
            dir=None if os.environ.get("WANDB_DIR") else str(self.folder),
            settings=self._settings(shown.job_type),
        )

    def _settings(self, job_type: str) -> Any:
        """Our manifest says more of code, machine and packages than theirs; what is measured is the training's process."""
        import wandb

        watched = self.watched if job_type == "train" else None
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
            x_disable_stats=watched is None,
            stop_fn=_not_from_there,
        )
        if watched is not None:
            settings.x_stats_pid = watched
        return settings

    def _forget_offline(self, identity: str) -> None:
        """What an earlier attempt left offline: theirs cannot be continued, so all rows are written anew.

        Raises AlignLabError when it was uploaded: then a second copy would be the same rows again.
        """
        for old in (self._dir() / "wandb").glob(f"offline-run-*-{identity}"):
            if list(old.glob("*.synced")):
                raise AlignLabError(f"{old} was uploaded by `wandb sync`, which cannot add to it")
            shutil.rmtree(old, ignore_errors=True)

    def _dir(self) -> Path:
        return Path(os.environ.get("WANDB_DIR") or self.folder)

    def about(self) -> dict[str, Any]:
        return {
            "id": self.run.id,
            "mode": self.mode,
            "project": self.run.project,
            "entity": self.run.entity,
            "url": self.run.url,
        }

    def place(self) -> str:
        return self.run.url if self.online else f"offline in {Path(self.run.dir).parent}"

    def log(self, row: Mapping[str, float], table: Sequence[Sequence[Any]] | None) -> None:
        import wandb

        completions = {} if table is None else {"completions": wandb.Table(columns=list(COLUMNS), data=list(table))}
        self.run.log({**row, **completions})
        self.logged += 1

    def close(self, summary: Mapping[str, Any], state: str) -> None:
        self.run.summary.update(dict(summary))
        if state in UNFINISHED:
            self.run.mark_preempting()
        self.run.finish(exit_code=0 if state == "done" else 1)

    def arrived(self) -> int:
        """Rows that can be read there; what was taken, where a key may not read. Raises OSError for a full disk."""
        if not self.online:
            _refuse_full(self._dir())
            return self.logged
        found = 0
        for seconds in PATIENCE:
            time.sleep(seconds)
            try:
                found = len(self.history())
            except Exception:
                traceback.print_exc()
                return self.logged
            if found >= self.logged:
                break
        return found

    def history(self) -> list[dict[str, Any]]:
        """Every row of ours that the server has."""
        return history(f"{self.run.entity}/{self.run.project}/{self.run.id}")

    def project_place(self) -> str:
        import wandb

        study = self.folder.resolve().parent
        return f"{wandb.setup().settings.base_url}/{self.entity}/{self.project}" if self.online else f"{NAME} {study}"

    def stage(self, stage: Shown) -> None:
        if not self.online:
            self._forget_offline(stage.id)
        run = self._init(stage, stage.id)
        run.summary.update(dict(stage.summary))
        run.finish()
