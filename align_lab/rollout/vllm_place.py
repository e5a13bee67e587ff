"""Which vLLM processes this process talks to, on which GPUs they are, and the private folder that they share on a node."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from align_lab.base.errors import ConfigError
from align_lab.models.language_model import LanguageModel
from align_lab.rollout.vllm_engine import PRIVATE, VllmSettings
from align_lab.rollout.vllm_extension import FILE

if TYPE_CHECKING:
    from align_lab.base.world import World

SHM = Path("/dev/shm")  # files in memory, where there is such a thing


@dataclass(frozen=True, kw_only=True)
class Seat:
    """One engine's process as one of its `clients` sees it."""

    address: Path
    starts: bool  # this client starts it
    clients: int
    gpus: Sequence[int]


@dataclass
class VllmProcesses:
    """Process `local` of the `locals` on its node. `copies` of the model have GPUs of their own there; 0: it shares ours."""

    world: World
    local: int
    locals: int
    copies: int
    token: str  # names the folder; the same in all processes of the run
    folder: Path | None = None

    @classmethod
    def here(cls, world: World, copies: int, processes_per_node: int) -> VllmProcesses:
        count = min(int(os.environ.get("LOCAL_WORLD_SIZE", processes_per_node)), world.size)
        local = int(os.environ.get("LOCAL_RANK", world.rank % count)) if world.size > 1 else 0
        return cls(world, local, count, copies, world.broadcast(uuid.uuid4().hex))

    @property
    def shared(self) -> bool:
        """vLLM is on the device on which this process trains."""
        return self.copies == 0

    def mine(self) -> list[int]:
        """The node's copies that this process asks: several of its own, or one that it shares with other processes."""
        return list(range(self.local, self.copies, self.locals)) or [self.local % self.copies]

    def seats(self, plan: VllmSettings) -> list[Seat]:
        """Where its engines are; the first of a copy's clients starts it."""
        folder, width = Path(plan.folder).parent, plan.tensor_parallel
        if self.shared:
            gpus = [torch.cuda.current_device()] if plan.cuda else []
            return [Seat(address=folder / f"own{self.local}", starts=True, clients=1, gpus=gpus)]
        first = self.locals  # the node's first GPUs train
        if torch.cuda.device_count() < first + self.copies * width:
            raise ConfigError(
                f"hardware.vllm.gpus={self.copies * width} beside {first} training processes a node needs "
                f"{first + self.copies * width} GPUs, and torch sees {torch.cuda.device_count()}. Set "
                "hardware.placement.gpus_per_node and hardware.placement.tasks_per_node so that both fit"
            )
        return [
            Seat(
                address=folder / f"copy{copy}",
                starts=self.local == copy % self.locals,
                clients=len(range(copy, self.locals, self.copies)) or 1,
                gpus=range(first + copy * width, first + (copy + 1) * width),
            )
            for copy in self.mine()
        ]

    def describe(self, model: LanguageModel) -> Path:
        """A folder that holds the model's config.json."""
        folder = self._make(model) / f"model{self.local}"
        folder.mkdir(mode=0o700)
        content = model.hf_config() | {"dtype": str(model.head.dtype).removeprefix("torch.")}
        (folder / "config.json").write_text(json.dumps(content))
        return folder

    def deliver(self, model: LanguageModel) -> Path:
        """The folder that holds the model's weights now; one process of the node writes them, all wait for it."""
        folder = self._make(model)
        if self.local == 0:
            state = {name: weight.detach().cpu().contiguous() for name, weight in model.hf_state().items()}
            save_file(state, folder / FILE)
        self.world.max(0)
        return folder

    def close(self) -> None:
        if self.folder is not None and self.local == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = None

    def _make(self, model: LanguageModel) -> Path:
        """A folder private to this user, made by whoever comes first: in memory where that is large enough."""
        if self.folder is None:
            size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
            roomy = SHM.is_dir() and os.access(SHM, os.W_OK) and shutil.disk_usage(SHM).total > 2 * size
            place = SHM if roomy else Path(tempfile.gettempdir())
            self.folder = place / f"{PRIVATE}{self.token}-{self.world.rank // self.locals}"
            self.folder.mkdir(mode=0o700, exist_ok=True)
        return self.folder
