"""Whole runs of a model with two layers, as `align_lab` trains them, here or on the pretended GPU."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from align_lab.base.paths import runs_folder
from align_lab.base.run_config import RunConfig
from align_lab.config.composition import compose
from align_lab.models import kv_cache, llama
from align_lab.record.folder import RunFolder
from align_lab.rollout import torch_sampler
from align_lab.run import assembly, experiment
from align_lab.train.loop import Loop
from tests.cuda.pretended import Machine, pretended_cuda
from tests.wiring.conftest import REWARD, configured
from tests.wiring.parts import Watched

TIMES = ("time/",)  # columns that no two runs share


@dataclass(frozen=True)
class Trained:
    """The record of a finished run, the machine it was trained on, None for this one, and what its algorithm got."""

    path: Path
    machine: Machine | None = None
    algo: Watched | None = None

    @property
    def rows(self) -> list[dict[str, float]]:
        """Its metrics, without times."""
        return [{k: v for k, v in row.items() if not k.startswith(TIMES)} for row in RunFolder(self.path).metrics()]

    @property
    def samples(self) -> list[dict[str, Any]]:
        """Its evaluated completions."""
        return list(RunFolder(self.path).samples())

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The policy's weights in its newest checkpoint."""
        newest = max((self.path / "checkpoints").glob("step-*"))
        return torch.load(newest / "state.pt", map_location="cpu", weights_only=True)["learner"]["policy"]["model"]


@functools.cache
def gpu() -> dict[str, Any]:
    """The values of `hardware=gpu`."""
    return compose(["hardware=gpu"]).values["hardware"]


def config(
    *overrides: str, study: str, device: str, reward: Any = REWARD, model: Any = None, **of_groups: Any
) -> RunConfig:
    """The config of a run with `hardware=gpu`, or with the same numbers on the processor. model: all of its fields."""
    numerics = {**gpu()["numerics"], "device": device, **of_groups.pop("numerics", {})}
    placement = {**gpu()["placement"], **of_groups.pop("placement", {})}
    hardware = {"numerics": numerics, "placement": placement}
    steps = () if any(one.startswith("train.steps=") for one in overrides) else ("train.steps=2",)
    words = (*overrides, *steps, f"study={study}")
    cfg = configured(words, reward=reward, hardware=hardware, record={"progress": False}, **of_groups)
    return cfg if model is None else RunConfig({**cfg.values, "model": model}, {**cfg.choices, "model": model["name"]})


def as_on_cuda(query: torch.Tensor, mask: torch.Tensor | None) -> bool:
    """Only flash attention shares keys. Elsewhere, their gradients are rounded once more."""
    return mask is None and query.dtype == torch.bfloat16


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """What a GPU does otherwise, the processor does too, so that the numbers are equal to the bit: keys that are
    shared, packed rows, columns in fixed shapes, and rows that leave the batch when they have ended."""
    with (
        patch.object(llama, "shares_keys", as_on_cuda),
        patch.object(kv_cache, "shapes_are_fixed", lambda _: True),
        patch.object(llama, "has_kernel", lambda query: query.dtype == torch.bfloat16),
        patch.multiple(torch_sampler, CHECK_EVERY=1, COMPACT_BELOW=torch_sampler.COMPACT_ON_GPU),
    ):
        yield


def train(cfg: RunConfig) -> Trained:
    """Train a run to its end, on the pretended GPU if its device is cuda."""
    on_gpu = cfg.hardware.numerics.device == "cuda"
    place: AbstractContextManager[Machine | None] = pretended_cuda() if on_gpu else nullcontext()
    assemble, algos = assembly.assemble, list[Watched]()

    def watched(*args: Any, **kwargs: Any) -> Loop:
        loop: Any = assemble(*args, **kwargs)
        loop.algo = Watched(loop.algo)
        algos.append(loop.algo)
        return loop

    with place as machine, patch.object(assembly, "assemble", watched), as_on_a_gpu():
        experiment.run(cfg)
    return Trained(runs_folder() / cfg.study / cfg.name, machine, algos[0])
