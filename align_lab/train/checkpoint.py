"""Everything that a run needs to go on, saved whole or not at all, and checked when it is read."""

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
    """`step-000010/` holds `state.pt` and `card.json` (its hash); `best.json` names the best step, which is never pruned."""

    root: Path

    @property
    def best_file(self) -> Path:
        return self.root / "best.json"

    def save(self, step: int, state: dict[str, Any], *, keep: int) -> None:
        """Save the state after `step`, then prune all but the newest `keep` and the best."""
        with publishing(self.folder(step)) as folder:
            _write(state, folder / "state.pt")
            write_json(folder / "card.json", {"step": step, "sha256": sha256(folder / "state.pt")})
        spared = {*[other for other in self.steps() if other <= step][-keep:], self.best()}
        for old in self.steps():
            if old not in spared or old > step:  # a later one belongs to a past that was rewound
                shutil.rmtree(self.folder(old), ignore_errors=True)

    def folder(self, step: int) -> Path:
        return self.root / f"step-{step:06d}"

    def steps(self) -> list[int]:
        found = [_FOLDER.fullmatch(folder.name) for folder in self.root.glob("step-*")]
        return sorted(int(match[1]) for match in found if match)

    def best(self) -> int | None:
        return json.loads(self.best_file.read_text())["step"] if self.best_file.exists() else None

    def mark_best(self, step: int, score: float) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        write_json(self.best_file, {"step": step, "eval/score": score})

    def load(self, step: int) -> dict[str, Any]:
        """The state after `step`. Raises DataError when it is missing, cut short or changed."""
        folder = self.folder(step)
        try:
            whole = json.loads((folder / "card.json").read_text())["sha256"] == sha256(folder / "state.pt")
        except (OSError, ValueError, KeyError):
            whole = False
        if not whole:
            raise DataError(
                f"the checkpoint {folder} is damaged: its content is not what was saved. Remove it to go on from "
                f"an earlier one: rm -r {folder}"
            )
        return torch.load(folder / "state.pt", map_location="cpu", weights_only=True)

    def latest(self, notice: Callable[[str], None]) -> tuple[int, dict[str, Any]] | None:
        """The newest state that is whole; damaged newer ones are said and passed over. None when there is none."""
        for step in reversed(self.steps()):
            try:
                return step, self.load(step)
            except DataError as damaged:
                notice(f"{damaged}. Going on from an earlier state")
        return None


def _write(state: dict[str, Any], path: Path) -> None:
    """One tensor after the other, no second copy in memory. Raises OSError where the disk is full, as the system says it."""
    try:
        with path.open("wb") as file:
            torch.save(state, file)
    except RuntimeError as error:  # torch's word for whatever the file raised
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
