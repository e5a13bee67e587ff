"""Run folder and terminal, nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.registry import param, register


@register("record", "local")
@dataclass(frozen=True, kw_only=True)
class Record:
    """Nothing here changes a result."""

    checkpoint_every: int = param(10, "steps between checkpoints: what a SIGKILL can cost", low=1)
    keep_checkpoints: int = param(2, "newest checkpoints that are kept, beside the best one", low=1)
    samples: int = param(3, "completions shown before and after", low=0)
    progress: bool = param(True, "live progress on a terminal")
