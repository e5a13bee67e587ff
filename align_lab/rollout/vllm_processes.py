"""The vLLM processes of a node: which one serves which training process, on which GPUs, and their shared folder."""

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
from align_lab.rollout.vllm_engine import FOLDER_PREFIX, VllmSettings
from align_lab.rollout.vllm_extension import FILE

if TYPE_CHECKING:
    from align_lab.base.world import World

SHM = Path("/dev/shm")  # a file system in memory, on Linux


@dataclass(frozen=True, kw_only=True)
class EngineProcess:
    """The process of one engine, as seen by one of its clients (training processes)."""

    address: Path  # of its socket
    starts: bool  # True if this client starts the process
    clients: int  # number of clients
    gpus: Sequence[int]


@dataclass
class VllmProcesses:
    """The engines that one training process uses.

    `copies` is the number of engines with GPUs of their own on the node; 0: each training process has one engine, which
    shares its device.
    """

    world: World
    local_rank: int
    local_size: int  # training processes on this node
    copies: int
    token: str  # a random name of the shared folder, equal in all processes of the run
    folder: Path | None = None

    @classmethod
    def create(cls, world: World, copies: int, processes_per_node: int) -> VllmProcesses:
        """Take rank and size on the node from torchrun's variables, if set. All processes call it."""
        count = min(int(os.environ.get("LOCAL_WORLD_SIZE", processes_per_node)), world.size)
        local_rank = int(os.environ.get("LOCAL_RANK", world.rank % count)) if world.size > 1 else 0
        return cls(world, local_rank, count, copies, world.broadcast(uuid.uuid4().hex))

    @property
    def shared(self) -> bool:
        """True if vLLM runs on the device on which this process trains."""
        return self.copies == 0

    def assigned_copies(self) -> list[int]:
        """The engines on this node that this process uses: several of its own, or one shared with other processes."""
        return list(range(self.local_rank, self.copies, self.local_size)) or [self.local_rank % self.copies]

    def engines(self, settings: VllmSettings) -> list[EngineProcess]:
        """The processes of its engines; the first client of each starts it. Raises ConfigError if GPUs are missing."""
        folder, width = Path(settings.folder).parent, settings.tensor_parallel
        if self.shared:
            gpus = [torch.cuda.current_device()] if settings.cuda else []
            return [EngineProcess(address=folder / f"own{self.local_rank}", starts=True, clients=1, gpus=gpus)]
        first = self.local_size  # the first GPUs of a node are those of the training processes
        if torch.cuda.device_count() < first + self.copies * width:
            raise ConfigError(
                f"hardware.vllm.gpus={self.copies * width} and {first} training processes per node need "
                f"{first + self.copies * width} GPUs, and torch sees {torch.cuda.device_count()}. Set "
                "hardware.placement.gpus_per_node and hardware.placement.tasks_per_node so that both fit"
            )
        return [
            EngineProcess(
                address=folder / f"copy{copy}",
                starts=self.local_rank == copy % self.local_size,
                clients=len(range(copy, self.local_size, self.copies)) or 1,
                gpus=range(first + copy * width, first + (copy + 1) * width),
            )
            for copy in self.assigned_copies()
        ]

    def write_config(self, model: LanguageModel) -> Path:
        """Write the model's config.json into a folder of this process, and return it."""
        folder = self._shared_folder(model) / f"model{self.local_rank}"
        folder.mkdir(mode=0o700)
        content = model.hf_config() | {"dtype": str(model.head.dtype).removeprefix("torch.")}
        (folder / "config.json").write_text(json.dumps(content))
        return folder

    def write_weights(self, model: LanguageModel) -> Path:
        """Write the model's weights once per node, and return their folder. All processes call it, and wait."""
        folder = self._shared_folder(model)
        if self.local_rank == 0:
            state = {name: weight.detach().cpu().contiguous() for name, weight in model.hf_state().items()}
            save_file(state, folder / FILE)
        self.world.max(0)
        return folder

    def close(self) -> None:
        """Remove the shared folder."""
        if self.folder is not None and self.local_rank == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = None

    def _shared_folder(self, model: LanguageModel) -> Path:
        """A folder with access only for this user, created by the first process; in memory if that is large enough."""
        if self.folder is None:
            size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
            in_memory = SHM.is_dir() and os.access(SHM, os.W_OK) and shutil.disk_usage(SHM).total > 2 * size
            parent = SHM if in_memory else Path(tempfile.gettempdir())
            self.folder = parent / f"{FOLDER_PREFIX}{self.token}-{self.world.rank // self.local_size}"
            self.folder.mkdir(mode=0o700, exist_ok=True)
        return self.folder
