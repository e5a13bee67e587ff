"""Checkpoints: the full state of a run, written atomically and verified by its hash when it is read."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from align_lab.base.errors import DataError
from align_lab.base.files import publishing, sha256, write_json

_FOLDER = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run: `step-000010/` holds `state.pt` and `card.json` with its hash.

    `best.json` names the step with the best score, whose checkpoint is never pruned.
    """

    root: Path

    @property
    def best_file(self) -> Path:
        """The file that names the best step."""
        return self.root / "best.json"

    def save(self, step: int, state: dict[str, Any], *, keep: int) -> None:
        """Save the state after `step`, then prune all but the newest `keep` and the best."""
        with publishing(self.folder(step)) as folder:
            _write(state, folder / "state.pt")
            write_json(folder / "card.json", {"step": step, "sha256": sha256(folder / "state.pt")})
        to_keep = {*[other for other in self.steps() if other <= step][-keep:], self.best()}
        for other in self.steps():
            if other not in to_keep or other > step:  # a later checkpoint is older than the rewind to this step
                shutil.rmtree(self.folder(other), ignore_errors=True)

    def folder(self, step: int) -> Path:
        """The folder of the checkpoint after `step`."""
        return self.root / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in ascending order."""
        matches = [_FOLDER.fullmatch(folder.name) for folder in self.root.glob("step-*")]
        return sorted(int(match[1]) for match in matches if match)

    def best(self) -> int | None:
        """The step with the best score so far; None before the first evaluation."""
        return json.loads(self.best_file.read_text())["step"] if self.best_file.exists() else None

    def mark_best(self, step: int, score: float) -> None:
        """Record that `step` has the best score so far."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_json(self.best_file, {"step": step, "score": score})

    def load(self, step: int) -> dict[str, Any]:
        """The state after `step`. Raises DataError when it is missing, truncated or modified."""
        folder = self.folder(step)
        try:
            intact = json.loads((folder / "card.json").read_text())["sha256"] == sha256(folder / "state.pt")
        except (OSError, ValueError, KeyError):
            intact = False
        if not intact:
            raise DataError(
                f"the checkpoint {folder} is damaged: its hash differs from the one recorded when it was saved. Remove "
                f"it to continue from an earlier checkpoint: rm -r {folder}"
            )
        return torch.load(folder / "state.pt", map_location="cpu", weights_only=True)

    def latest(self, notice: Callable[[str], None]) -> tuple[int, dict[str, Any]] | None:
        """(step, state) of the newest intact checkpoint, or None. Damaged ones are reported and skipped."""
        for step in reversed(self.steps()):
            try:
                return step, self.load(step)
            except DataError as damaged:
                notice(f"{damaged}. Continuing from an earlier checkpoint")
        return None


def _write(state: dict[str, Any], path: Path) -> None:
    """Write tensor by tensor, without a second copy in memory. Raises the system's OSError if the disk is full."""
    try:
        with path.open("wb") as file:
            torch.save(state, file)
    except RuntimeError as error:  # torch wraps whatever the file raised
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
