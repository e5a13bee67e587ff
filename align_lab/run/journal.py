"""What a run writes while it goes on: the folder is the truth, the screen and the sink are views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from align_lab.base.metrics import label_of
from align_lab.base.record import Record
from align_lab.boards.sinks import sink
from align_lab.record import manifest
from align_lab.record.console import Screen
from align_lab.record.folder import RunFolder
from align_lab.run.watchdog import Watch
from align_lab.train.checkpoint import Checkpoints

STATUS = {  # what a run's status holds of its newest metrics, beside the deciding one
    "step": "step",
    "episode": "episode",
    "score": "eval/score",
    "seconds_per_step": "time/step",
}


class Journal:
    """Writes what the loop reports, and has a sink show what is written."""

    def __init__(self, folder: RunFolder, record: Record, screen: Screen, *, steps: int, metric: str) -> None:
        """`metric` is the one that decides (`evaluation.metric`)."""
        self.folder, self.record, self.screen = folder, record, screen
        self.sink = sink(record, folder.path, screen.notice)
        self.checkpoints = Checkpoints(folder.at.checkpoints)
        label = folder.declared[metric].label or label_of(metric)
        self.where: dict[str, Any] = {"phase": "start", "step": 0, "steps": steps, "metric": label, **manifest.job()}
        self.reported = STATUS | {"decides": metric}
        self.watch: Watch | None = None

    def phase(self, name: str) -> None:
        self.where["phase"] = name
        self._beat()

    def log(self, row: Mapping[str, float]) -> None:
        self.folder.log(row)
        self.where |= {name: row[key] for name, key in self.reported.items() if key in row}
        self._beat()
        self.screen.update(row)

    def _beat(self) -> None:
        self.folder.set_status("running", **self.where)
        if self.watch is not None:
            self.watch.beat(self.where["phase"])

    def log_samples(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.folder.log_samples(rows)

    def save(self, step: int, state: dict[str, Any], *, best: float | None = None) -> None:
        self.checkpoints.save(step, state, keep=self.record.keep_checkpoints)
        if best is not None:
            self.checkpoints.mark_best(step, best)

    def manifest(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        self.folder.write_manifest(describe())
        self.sink.follow()

    def done(self) -> None:
        self.folder.finish()
        self.folder.set_status("done", **self.where)


class Follower(Journal):
    """The journal of a process that keeps no record: the first process of the run does."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.checkpoints = folder, Checkpoints(folder.at.checkpoints)

    def phase(self, name: str) -> None: ...
    def log(self, row: Mapping[str, float]) -> None: ...
    def log_samples(self, rows: Sequence[Mapping[str, Any]]) -> None: ...
    def save(self, step: int, state: dict[str, Any], *, best: float | None = None) -> None: ...
    def manifest(self, describe: Callable[[], Mapping[str, Any]]) -> None: ...
    def done(self) -> None: ...
