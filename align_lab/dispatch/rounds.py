"""Rounds of a job between requeues: only those in which it made no progress count towards the limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align_lab.base.files import read_json, write_json
from align_lab.base.paths import runs_folder
from align_lab.record.layout import RunLayout, StudyLayout

TOO_OFTEN = (
    "requeued {} times without a step of progress, which is the limit (hardware.placement.max_requeues): the same "
    "command submits it again"
)


@dataclass(frozen=True)
class Rounds:
    """The rounds of one task, in a file of its study."""

    study: Path
    name: str

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> Rounds:
        """Those of a task that `plan.payload` describes."""
        return cls(runs_folder() / task["values"]["study"], task["name"])

    def begin(self, requeued: int) -> int:
        """Call it when a job starts. Returns how many rounds in a row ended without progress; 0 for a new job.

        `requeued`: how often Slurm has requeued the job.
        """
        fruitless = self.fruitless() if requeued else 0
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._file, {"step": self._step(), "fruitless": fruitless})
        return fruitless

    def fruitless(self) -> int:
        """How many rounds in a row ended without progress, if the present one ends now. A stage makes no steps."""
        before = read_json(self._file)
        return 0 if self._step() > before.get("step", 0) else before.get("fruitless", 0) + 1

    def _step(self) -> int:
        return read_json(RunLayout(self.study / self.name).status).get("step", 0)

    @property
    def _file(self) -> Path:
        return StudyLayout(self.study).rounds(self.name)
