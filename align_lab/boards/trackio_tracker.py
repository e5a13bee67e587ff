"""Trackio: runs and completions in a local dashboard, without an account."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from align_lab.base.registry import register
from align_lab.boards.run_view import CompletionTable, Shown
from align_lab.boards.sinks import TrackedRecord

NAME = "trackio"
ORDER = ("eval/score", "eval/win_rate", "eval/kl", "eval/*", "objective/*")  # of the charts, behind what decides


@register("record", NAME)
@dataclass(frozen=True, kw_only=True)
class Trackio(TrackedRecord):
    """Logging to Trackio, which never changes a result and can neither fail nor slow a run."""

    tracker_name: ClassVar[str] = NAME
    package: ClassVar[str] = "trackio"

    def tracker(self, folder: Path) -> TrackioTracker:
        """The tracker of the run in this folder."""
        return TrackioTracker(self.project)


class TrackioTracker:
    """One run in Trackio, whose step is ours."""

    name = NAME
    mode = "local"
    logs_stages = False

    def __init__(self, project: str) -> None:
        self.project = project

    def run_id(self, run: Shown) -> str:
        """The name of the run in Trackio."""
        return run.id

    def open(self, run: Shown) -> Set[int]:
        """Create or resume the run. Returns the steps that Trackio has."""
        self.run, self.order = self._init(run), dict.fromkeys((run.config["run"]["evaluation"]["metric"], *ORDER))
        return self._steps(run.id)

    def _init(self, run: Shown) -> Any:
        import trackio

        return trackio.init(
            project=self.project,
            name=run.id,
            group=run.group,
            config={**run.config, "tags": list(run.tags), "job_type": run.job_type},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def description(self) -> dict[str, Any]:
        """What the run folder stores."""
        return {"id": self.run.name, "mode": self.mode, "project": self.project}

    def location(self) -> str:
        """The command that opens the dashboard, with its charts in the order of the page that `compare` writes."""
        return f"TRACKIO_PLOT_ORDER='{','.join(self.order)}' trackio show --project {self.project}"

    def log(self, row: Mapping[str, float], table: CompletionTable | None) -> None:
        """Log one row with its table."""
        self.run.log({**_without_step(row), **_table(table)}, step=int(row["step"]))

    def close(self, summary: Mapping[str, Any], state: str) -> None:
        """Finish the run. Trackio has no summary."""
        self.run.finish()

    def count_rows(self) -> int:
        """The number of rows in Trackio's database."""
        return len(self._steps(self.run.name))

    def _steps(self, name: str) -> set[int]:
        from trackio.sqlite_storage import SQLiteStorage

        return {row["step"] for row in SQLiteStorage.get_logs(self.project, name)}

    def project_location(self) -> str:
        """The database and the project in it."""
        from trackio.utils import TRACKIO_DIR

        return f"{TRACKIO_DIR} {self.project}"

    def log_stage(self, stage: Shown) -> None:
        """Trackio has runs alone, and a stage is none: beside the arms it would be one more line in every chart. The
        config of a run names the stages that it started from.
        """


def _without_step(row: Mapping[str, float]) -> dict[str, float]:
    """The row without the column that Trackio has a name of its own for."""
    return {key: value for key, value in row.items() if key != "step"}


def _table(table: CompletionTable | None) -> dict[str, Any]:
    import trackio

    if table is None:
        return {}
    return {"completions": trackio.Table(columns=table.columns, data=table.rows)}
