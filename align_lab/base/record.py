"""Settings of a run's record, none of which changes a result."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.component import Component
from align_lab.base.registry import param


@dataclass(frozen=True, kw_only=True)
class Record(Component):
    """The settings of every kind of record."""

    checkpoint_every: int = param(
        10,
        "steps between checkpoints, which is what a SIGKILL can lose; on a GPU, while one is written, twice as many",
        low=1,
    )
    keep_checkpoints: int = param(2, "number of newest checkpoints to keep, in addition to the best one", low=1)
    samples: int = param(3, "completions printed at the end of a run, before and after training", low=0)
    progress: bool = param(True, "live progress on a terminal")
