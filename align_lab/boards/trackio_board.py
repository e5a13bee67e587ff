"""Trackio: a dashboard on this machine, from a database under $TRACKIO_DIR. See it: trackio show --project align_lab

It needs no account. A run that goes on continues its run there, each row once; the x axis can be set to `episode`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from align_lab.base.registry import register
from align_lab.boards.run_view import COLUMNS, Shown
from align_lab.boards.sinks import Boarded

NAME = "trackio"


@register("record", NAME)
@dataclass(frozen=True, kw_only=True)
class Trackio(Boarded):
    """Nothing here changes a result, and nothing there can fail or slow a run."""

    board_name: ClassVar[str] = NAME
    package: ClassVar[str] = "trackio"

    def board(self, folder: Path) -> TrackioBoard:
        return TrackioBoard(self.project)


class TrackioBoard:
    """One run there. Steps are ours, which are its count as well."""

    name = NAME
    mode = "local"
    shows_stages = True

    def __init__(self, project: str) -> None:
        self.project = project

    def identity(self, run: Shown) -> str:
        return run.id

    def open(self, run: Shown) -> Set[int]:
        self.run = self._init(run)
        return self._steps()

    def _init(self, shown: Shown) -> Any:
        import trackio

        return trackio.init(
            project=self.project,
            name=shown.id,
            group=shown.group,
            config={**shown.config, "tags": list(shown.tags), "job_type": shown.job_type},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def about(self) -> dict[str, Any]:
        return {"id": self.run.name, "mode": self.mode, "project": self.project}

    def place(self) -> str:
        return f"trackio show --project {self.project}"

    def log(self, row: Mapping[str, float], table: Sequence[Sequence[Any]] | None) -> None:
        self.run.log({**_named(row), **_table(table)}, step=int(row["step"]))

    def close(self, summary: Mapping[str, Any], state: str) -> None:
        self.run.finish()

    def arrived(self) -> int:
        return len(self._steps())

    def _steps(self) -> set[int]:
        from trackio.sqlite_storage import SQLiteStorage

        return {row["step"] for row in SQLiteStorage.get_logs(self.project, self.run.name)}

    def project_place(self) -> str:
        from trackio.utils import TRACKIO_DIR

        return f"{TRACKIO_DIR} {self.project}"

    def stage(self, stage: Shown) -> None:
        run = self._init(stage)
        run.log({key: value for key, value in stage.summary.items() if isinstance(value, int | float)}, step=0)
        run.finish()


def _named(row: Mapping[str, float]) -> dict[str, float]:
    """Without the columns whose names are theirs."""
    return {key: value for key, value in row.items() if key != "step"}


def _table(table: Sequence[Sequence[Any]] | None) -> dict[str, Any]:
    import trackio

    return (
        {}
        if table is None
        else {"completions": trackio.Table(columns=list(COLUMNS), data=[list(row) for row in table])}
    )
