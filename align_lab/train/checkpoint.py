"""Checkpoints: the full state of a run, written atomically and verified by the hash of each file when it is read.

Of several processes, each writes its slices of all large tensors (`shards.py`) and verifies a share of the files.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from align_lab.base import shapes
from align_lab.base.errors import DataError
from align_lab.base.files import publishing, read_json, sha256, write_json
from align_lab.base.world import World
from align_lab.train.shards import assembled, separated

_FOLDER = re.compile(r"step-(\d{6,})")


class _Card(TypedDict):
    """What card.json holds. `parts`: name of a file -> its hash."""

    sha256: str
    parts: NotRequired[dict[str, str]]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run: `step-000010/` holds `state.pt` and `card.json` with its hash.

    What several processes have saved holds `part-000.safetensors`, ... too, with a hash each. `best.json` names the
    step with the best score, whose checkpoint is never pruned.
    """

    root: Path

    @property
    def best_file(self) -> Path:
        """The file that names the best step."""
        return self.root / "best.json"

    def save(self, step: int, state: dict[str, Any], *, keep: int, world: World = World()) -> None:
        """Save the state after `step`, then prune all but the newest `keep` and the best. All processes call it."""
        with publishing(self.folder(step)) if world.rank == 0 else nullcontext(self.root) as opened:
            folder = Path(world.broadcast(str(opened)))
            rest, slices = separated(state)
            parts = {}
            if world.size > 1:
                parts = {"parts": _write_part(folder / f"part-{world.rank:03d}.safetensors", slices, world)}
            if world.rank:
                return
            _write(rest, folder / "state.pt")
            write_json(folder / "card.json", {"step": step, "sha256": sha256(folder / "state.pt"), **parts})
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
        """The step with the best score so far; None before the first evaluation, and where the file is damaged."""
        step = read_json(self.best_file).get("step")
        return step if type(step) is int else None

    def mark_best(self, step: int, score: float) -> None:
        """Record that `step` has the best score so far."""
        self.root.mkdir(parents=True, exist_ok=True)
        write_json(self.best_file, {"step": step, "score": score})

    def load(self, step: int, world: World = World()) -> dict[str, Any]:
        """The state after `step`. Raises DataError when it is missing, truncated or modified. All processes call it."""
        if world.max(int(not self._is_intact(step, world))):
            folder = self.folder(step)
            raise DataError(
                f"the checkpoint {folder} is damaged: its hash differs from the one recorded when it was saved. Remove "
                f"it to continue from an earlier checkpoint: rm -r {folder}"
            )
        return self.read(step)

    def read(self, step: int) -> dict[str, Any]:
        """The same of a checkpoint that is known to be intact. Large tensors in parts are read where they are used.

        The processes of a node read a file once, into memory that they share: on GPUs they have copies of their own.
        """
        mapped = torch.get_default_device().type == "cuda"
        folder = self.folder(step)
        state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True, mmap=mapped)
        parts = self._card(step).get("parts")
        return assembled(state, [load_file(folder / name) for name in sorted(parts)]) if parts else state

    def identity(self, step: int) -> str | None:
        """What the state after `step` is known by: one hash of all its files; None without a checkpoint."""
        card = self._card(step)
        parts = "".join(digest for _, digest in sorted(card.get("parts", {}).items()))
        state = card.get("sha256")
        return hashlib.sha256(f"{state}{parts}".encode()).hexdigest() if parts else state

    def _card(self, step: int) -> dict[str, Any]:
        """What the card holds; empty where it is damaged, and then no file is what the card says."""
        card = read_json(self.folder(step) / "card.json")
        return card if shapes.fits(card, _Card) else {}

    def _is_intact(self, step: int, world: World) -> bool:
        """Are this process's share of the files as they were written?"""
        card = self._card(step)
        files = [("state.pt", card.get("sha256")), *sorted(card.get("parts", {}).items())]
        try:
            return all(sha256(self.folder(step) / name) == digest for name, digest in files[world.rank :: world.size])
        except OSError:
            return False

    def latest(self, notice: Callable[[str], None], world: World = World()) -> tuple[int, dict[str, Any]] | None:
        """(step, state) of the newest intact checkpoint, or None. Damaged ones are reported and skipped. All processes
        call it."""
        for step in reversed(world.broadcast(self.steps())):
            try:
                return step, self.load(step, world)
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


def _write_part(path: Path, slices: Mapping[str, Tensor], world: World) -> dict[str, str]:
    """Write this process's part. Returns name -> hash of all parts. Raises in all processes if one fails."""
    failure: Exception | None = None
    digest = ""
    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in slices.items()}, path)
        digest = sha256(path)
    except (OSError, SafetensorError) as error:
        failure = error
    results = world.concatenate([(path.name, digest, "" if failure is None else str(failure))])
    if failure is not None:
        raise failure
    if texts := [text for _, _, text in results if text]:
        raise OSError(f"another process could not write its part of the checkpoint: {texts[0]}")
    return {name: own_digest for name, own_digest, _ in results}
