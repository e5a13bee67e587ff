"""What a run writes during training: the folder is the record; the terminal and experiment trackers are views of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from align_lab.base.errors import Stopped
from align_lab.base.files import read_json
from align_lab.base.hyperparameters import Train
from align_lab.base.metrics import label_of
from align_lab.base.record import Record
from align_lab.base.world import World
from align_lab.boards.sinks import sink
from align_lab.record import manifest
from align_lab.record.console import Screen
from align_lab.record.folder import RunFolder
from align_lab.record.seal import seal
from align_lab.run.watchdog import Watch
from align_lab.train.checkpoint import Checkpoints
from align_lab.train.saver import Saver

STATUS = {  # key of status.json -> metric whose newest value it holds, beside the deciding metric
    "step": "step",
    "episode": "episode",
    "score": "eval/score",
    "seconds_per_step": "time/step",
}


class Journal:
    """Writes the loop's metrics, samples and checkpoints; a sink forwards what is written to an experiment tracker."""

    def __init__(
        self,
        folder: RunFolder,
        record: Record,
        screen: Screen,
        *,
        plan: Train,
        metric: str,
        world: World = World(),
    ) -> None:
        """`plan`: its budget says when the run will end. `metric`: the deciding one (`evaluation.metric`)."""
        self.folder, self.record, self.screen = folder, record, screen
        self.sink = sink(record, folder.path, screen.notice)
        self.checkpoints = Checkpoints(folder.at.checkpoints)
        self.saver = Saver(self.checkpoints, keep=record.keep_checkpoints, world=world)
        label = folder.declared[metric].label or label_of(metric)
        self.plan = plan
        self.where: dict[str, Any] = {
            "phase": "start",
            "step": 0,
            "steps": plan.planned_steps,
            "metric": label,
            **manifest.job(),
        }
        self.reported = STATUS | {"decides": metric}
        self.watch: Watch | None = None

    def phase(self, name: str) -> None:
        """Record that a phase of the run begins: `stages`, `training`."""
        self.where["phase"] = name
        self._beat()

    def log(self, row: Mapping[str, float]) -> None:
        """Write the metrics of one step, and update status and terminal."""
        self.folder.log(row)
        self._note(row)
        self._beat()
        self.screen.update(row, steps=self.where["steps"])

    def _note(self, row: Mapping[str, float]) -> None:
        """Take what the status says of a row."""
        self.where |= {name: row[key] for name, key in self.reported.items() if key in row}
        self.where["steps"] = self._expected_steps(row)

    def _expected_steps(self, row: Mapping[str, float]) -> int:
        """The step at which `train.steps` or the budget ends the run, as far as the steps so far tell; 0: unknown."""
        if not row["step"]:
            return self.plan.planned_steps
        charged = {"episodes": "episode", "tokens": "budget/tokens", "seconds": "time/elapsed"}
        return self.plan.expected_steps(int(row["step"]), **{name: row.get(key, 0.0) for name, key in charged.items()})

    @property
    def training(self) -> bool:
        """Has the training begun, so that what is saved is a matter of its steps?"""
        return self.where["phase"] == "training"

    def _beat(self) -> None:
        """Write the heartbeat of the run, and reset the watchdog's timer."""
        self.folder.set_status("running", **self.where)
        if self.watch is not None:
            self.watch.beat(self.where["phase"])

    def log_samples(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of one evaluation."""
        self.folder.log_samples(rows)

    def save(self, step: int, state: dict[str, Any], *, best: float | None = None) -> None:
        """Save a checkpoint. `best`: the score, if it is the best so far."""
        self.saver.save(step, state, best=best)

    @contextmanager
    def settled(self) -> Generator[None]:
        """At the end of the block, what was saved is on the disk; only a second Ctrl-C does not wait for that.

        Raises what writing it has raised, unless another error than a stop was the first.
        """
        try:
            yield
        except KeyboardInterrupt:
            raise
        except Exception as error:
            with nullcontext() if isinstance(error, Stopped) else suppress(Exception):
                self.saver.settle()
            raise
        self.saver.settle()

    def recall(self, metric: str, best: float | None) -> None:
        """Take from the rows so far what the status says, and which step has the best score by this metric.

        A kill may have come between the best checkpoint and its name.
        """
        rows = self.folder.metrics()
        for row in rows:
            self._note(row)
        if best is None or read_json(self.checkpoints.best_file).get("score") == best:
            return
        step = next((int(row["step"]) for row in rows if row.get(metric) == best), None)
        if step in self.checkpoints.steps():
            self.checkpoints.mark_best(step, best)

    def manifest(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        """Write the manifest, and let the sink start: it needs the manifest."""
        self.folder.write_manifest(describe())
        self.sink.follow()

    def done(self) -> None:
        """Complete the record of a finished run."""
        self.folder.finish()
        self.where["steps"] = self.where["step"]  # the budget may have ended it before its last step
        self.folder.set_status("done", sealed=seal(self.folder.path), **self.where)


class Follower(Journal):
    """The journal of every process but the first, which writes the record of the run; each writes its checkpoints."""

    def __init__(self, folder: RunFolder, record: Record, world: World) -> None:
        self.folder = folder
        self.checkpoints = Checkpoints(folder.at.checkpoints)
        self.saver = Saver(self.checkpoints, keep=record.keep_checkpoints, world=world)

    def phase(self, name: str) -> None:
        """Not recorded."""

    def log(self, row: Mapping[str, float]) -> None:
        """Not recorded."""

    def log_samples(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Not recorded."""

    def manifest(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        """Not recorded, nor computed."""

    def done(self) -> None:
        """Not recorded."""
