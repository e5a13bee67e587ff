"""vLLM behind the Protocol of samplers: beside the model that learns, with its weights after every change.

In this process where the run is a single one on its device; else in processes of its own (`hardware.vllm`). It is not
exact: kernels and precision differ from training, so the trainer computes its own log-probabilities, and how far the
two are apart is compared after the first syncs and logged at every step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from align_lab.base.errors import ConfigError, SamplerError, SamplerMismatch
from align_lab.models.language_model import LanguageModel
from align_lab.rollout.sampler import Samples, Weights
from align_lab.rollout.vllm_engine import Completions, Inside, Request, VllmEngine, VllmSettings
from align_lab.rollout.vllm_install import problem, version
from align_lab.rollout.vllm_place import VllmProcesses
from align_lab.rollout.vllm_remote import Remote

if TYPE_CHECKING:
    from align_lab.base.hardware import Vllm
    from align_lab.base.world import World

T = TypeVar("T")
Item = TypeVar("Item")
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}  # nats a token, on average
COMPARED = 2  # syncs whose log-probabilities are compared: of the start weights, and the first after an update


class VllmSampler:
    """`longest`: tokens of the longest prompt and completion together. The engine starts at the first call."""

    exact = False

    def __init__(self, settings: Vllm, *, dtype: str, longest: int, world: World, processes_per_node: int = 1) -> None:
        if text := problem():
            raise ConfigError(text)
        self.name = f"vllm {version()}"
        self.settings, self.dtype, self.longest, self.world = settings, dtype, longest, world
        self.tolerance = settings.tolerance or TOLERANCE[dtype]
        self.place = VllmProcesses.here(world, settings.gpus // settings.tensor_parallel, processes_per_node)
        self.engines: list[VllmEngine] = []
        self.version: int | None = None  # of the weights that the engines hold
        self.compared = 0

    def __call__(
        self,
        weights: Weights,
        prompts: Tensor,
        pad: Tensor | None,
        *,
        uniforms: Tensor,
        temperature: float = 1.0,
        top_p: float = 1.0,
        eos: int | None = None,
    ) -> Samples:
        began = time.perf_counter()
        fresh = self._sync(weights)
        synced = time.perf_counter() - began
        starts = [0] * len(prompts) if pad is None else pad.tolist()
        request = Request(
            prompts=[ids[start:] for ids, start in zip(prompts.tolist(), starts, strict=True)],
            seeds=seeds(uniforms),
            new=uniforms.shape[1],
            temperature=temperature,
            top_p=top_p,
            eos=eos,
        )
        found = samples(self._together(lambda: self._complete(request)), prompts, eos, synced)
        if fresh and self.compared < COMPARED:
            self._compare(weights, prompts, pad, found, temperature)
        return found

    def rest(self) -> None:
        """Sleep, where the device is shared. Sleeping forgets the weights."""
        if self.engines and self.place.shared and torch.get_default_device().type == "cuda":
            self._together(lambda: at_once(lambda engine: engine.sleep(), self.engines))
            self.version = None

    def close(self) -> None:
        for engine in self.engines:
            engine.close()
        self.engines, self.version = [], None
        self.place.close()

    def _sync(self, weights: Weights) -> bool:
        """Bring the weights to the engines where they have changed. Returns whether they had."""
        if self.version == weights.version:
            return False
        with weights.whole() as model:
            if not self.engines:
                self.engines = self._together(lambda: self._start(model))
            self._together(lambda: self._load(model))
        self.version = weights.version
        return True

    def _start(self, model: LanguageModel) -> list[VllmEngine]:
        cuda = torch.get_default_device().type == "cuda"
        plan = VllmSettings(
            folder=str(self.place.describe(model)),
            dtype=self.dtype,
            longest=min(self.longest, model.context),
            cuda=cuda,
            tensor_parallel=self.settings.tensor_parallel,
            memory=self.settings.memory,
            cpu_cache_gib=self.settings.cpu_cache_gib,
            eager=self.settings.eager,
            sleeps=cuda and self.place.shared,
        )
        if self.place.shared and not self.settings.own_process and not dist.is_initialized():
            return [Inside(plan)]  # vLLM makes a group of its own there, which must be the only one
        return at_once(lambda seat: Remote(plan, **vars(seat)), self.place.seats(plan))

    def _load(self, model: LanguageModel) -> None:
        if isinstance(self.engines[0], Inside):
            self.engines[0].load(model.hf_state())
            return
        folder = self.place.deliver(model)
        at_once(lambda engine: engine.load(folder), self.engines)

    def _complete(self, request: Request) -> Completions:
        """Rows are dealt out where this process has several engines."""
        asked = zip(self.engines, dealt(request, len(self.engines)), strict=True)
        parts = at_once(lambda pair: pair[0].complete(pair[1]), [pair for pair in asked if pair[1].seeds])
        whole = {f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Completions)}
        return Completions(**whole)

    def _together(self, work: Callable[[], T]) -> T:
        """Where one process fails, all do: none may wait for the others in vain."""
        failed: SamplerError | None = None
        results: list[T] = []
        try:
            results.append(work())
        except SamplerError as error:
            failed = error
        if self.world.max(int(failed is not None)):
            raise failed or SamplerError("another process of this run has lost its sampler")
        return results[0]

    @torch.no_grad()
    def _compare(
        self, weights: Weights, prompts: Tensor, pad: Tensor | None, found: Samples, temperature: float
    ) -> None:
        """Raise SamplerMismatch where the trainer gives the same tokens other log-probabilities."""
        with weights.whole() as model:
            want = model(torch.cat([prompts, found.tokens], 1), pad, found.mask, temperature=temperature or 1.0)
        assert isinstance(want, Tensor)
        gap = (found.logp - want.to(found.logp)).abs()[found.mask]
        mean, most = self.world.max(float(gap.mean())), self.world.max(float(gap.max()))
        self.compared += 1
        if not mean <= self.tolerance:  # NaN is a mismatch too
            raise SamplerMismatch(mismatch(mean, most, self.tolerance, self.compared))


def at_once(work: Callable[[Item], T], items: Sequence[Item]) -> list[T]:
    """Work on each item, in threads where there are several: they wait for other processes. One stays in this thread."""
    if len(items) == 1:
        return [work(items[0])]
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(work, items))


def mismatch(mean: float, most: float, tolerance: float, sync: int) -> str:
    when = "the start weights were brought to vLLM" if sync == 1 else "the first update was brought to vLLM"
    return (
        f"vLLM and the trainer disagree on the log-probabilities of the same tokens after {when}: by {mean:.2g} on "
        f"average and {most:.2g} at most, where hardware.vllm.tolerance allows {tolerance:g} on average. Its weights are not "
        "the policy's, or it computes this model otherwise. Set hardware.numerics.sampler=torch; or "
        "hardware.numerics.dtype=float32 if it is rounding; or, knowing why, a larger hardware.vllm.tolerance with "
        "sampling.importance_cap=2, which corrects for it"
    )


def seeds(uniforms: Tensor) -> list[int]:
    """A seed a row [B] from its numbers [B T]: 24 bits of each of the first two."""
    first, second = (uniforms[:, min(column, uniforms.shape[1] - 1)].double() for column in (0, 1))
    return ((first * 2**24).long() * 2**24 + (second * 2**24).long()).tolist()


def dealt(request: Request, count: int) -> list[Request]:
    """Consecutive rows for each of `count` engines."""
    rows = len(request.seeds)
    ends = [rows * number // count for number in range(count + 1)]
    rest = {name: value for name, value in vars(request).items() if name not in ("prompts", "seeds")}
    return [
        Request(prompts=request.prompts[start:end], seeds=request.seeds[start:end], **rest)
        for start, end in pairwise(ends)
    ]


def samples(found: Completions, prompts: Tensor, eos: int | None, sync_seconds: float) -> Samples:
    """On the trainer's device; after its end a row holds the end token."""
    new = found.tokens.shape[1]
    mask = torch.arange(new, device="cpu") < found.lengths[:, None]
    tokens = found.tokens.where(mask, -1 if eos is None else eos)
    tokens, mask, logp, ended = (x.to(prompts.device) for x in (tokens, mask, found.logp, found.ended))
    return Samples(tokens=tokens, mask=mask, logp=logp, ended=ended, sync_seconds=sync_seconds)
