"""What is kept of a run: settings of the record, none of which changes a result."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.component import Component
from align_lab.base.registry import param


@dataclass(frozen=True, kw_only=True)
class Record(Component):
    """What every record keeps."""

    checkpoint_every: int = param(10, "steps between checkpoints: what a SIGKILL can cost", low=1)
    keep_checkpoints: int = param(2, "newest checkpoints that are kept, beside the best one", low=1)
    samples: int = param(3, "completions shown before and after", low=0)
    progress: bool = param(True, "live progress on a terminal")
