"""Saves the checkpoints of a run: while it waits for that, or from a snapshot while the training goes on."""

from __future__ import annotations

from functools import partial
from typing import Any

from align_lab.base.world import World
from align_lab.train.background import Background
from align_lab.train.checkpoint import Checkpoints
from align_lab.train.shards import snapshot


class Saver:
    """Writes one checkpoint at a time, in the order in which they are saved. All processes save together."""

    def __init__(self, checkpoints: Checkpoints, *, keep: int, world: World) -> None:
        self.checkpoints, self.keep, self.world = checkpoints, keep, world
        self.background: Background | None = None  # None: the run waits until a checkpoint is written

    def go_on(self) -> None:
        """From now on the training goes on meanwhile: a copy of the state fits into memory. All processes call it."""
        self.background, self.world = Background(), self.world.apart()

    def save(self, step: int, state: dict[str, Any], *, best: float | None) -> None:
        """Save the state after `step`. `best`: the score, if it is the best so far.

        The checkpoint before is on the disk when this begins. Raises what writing that one has raised.
        """
        if self.background is None:
            self._write(step, state, best)
        else:
            self.background.wait()
            self.background.start(partial(self._write, step, snapshot(state), best))

    def settle(self) -> None:
        """Wait until everything is on the disk. Raises what writing it has raised."""
        if self.background is not None:
            self.background.wait()

    def _write(self, step: int, state: dict[str, Any], best: float | None) -> None:
        self.checkpoints.save(step, state, keep=self.keep, world=self.world)
        if best is not None and not self.world.rank:
            self.checkpoints.mark_best(step, best)
