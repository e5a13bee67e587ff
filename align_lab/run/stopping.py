"""What a run says that was stopped before it trained: what was saved, of this attempt or of an earlier one."""

from __future__ import annotations

from align_lab.base.errors import Stopped
from align_lab.train.checkpoint import Checkpoints


def before_training(checkpoints: Checkpoints) -> Stopped:
    """The error of a run that was stopped while its data, start policy and rewards were built or loaded."""
    if not (steps := checkpoints.steps()):
        return Stopped("stopped before training; nothing of this run is saved yet, and the same command begins it")
    return Stopped(f"stopped before training went on; step {max(steps)} is saved, and the same command goes on there")
