"""Sampling with vLLM, whose engines get the policy's weights after every update.

The engine runs in this process if the run has a single process and shares its device; otherwise in processes of its own
(`hardware.vllm`). The sampler is not exact: kernels and precision differ from training, so the trainer recomputes the
log-probabilities. The difference is checked after the first two weight transfers and logged at every step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from align_lab.base.errors import ConfigError, SamplerError, SamplerMismatch
from align_lab.base.hardware import CHECKED_ROWS
from align_lab.models.language_model import LanguageModel
from align_lab.models.row_batches import RowBatches
from align_lab.rollout.sampler import Pending, Sampler, Samples, Weights
from align_lab.rollout.vllm_engine import Completions, InProcessEngine, Request, VllmEngine, VllmSettings
from align_lab.rollout.vllm_install import unavailable_reason, version
from align_lab.rollout.vllm_processes import VllmProcesses
from align_lab.rollout.vllm_remote import RemoteEngine

if TYPE_CHECKING:
    from align_lab.base.hardware import Vllm
    from align_lab.base.world import World

T = TypeVar("T")
Item = TypeVar("Item")
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}  # mean absolute difference, nats per token
CHECKED_SYNCS = 2  # weight transfers after which log-probabilities are compared: the start weights, the first update


class VllmSampler(Sampler):
    """A sampler for at most `longest` tokens, prompt and completion together. Engines start at the first call."""

    exact = False

    def __init__(
        self,
        settings: Vllm,
        *,
        dtype: str,
        longest: int,
        world: World,
        processes_per_node: int = 1,
        deterministic: bool = False,
    ) -> None:
        """`deterministic`: a completion depends on its own random numbers alone, also on a GPU, and no setting of vLLM
        that this takes reaches the trainer's process.
        """
        if text := unavailable_reason():
            raise ConfigError(text)
        self.name = f"vllm {version()}"
        self.settings, self.dtype, self.longest, self.world = settings, dtype, longest, world
        self.tolerance = settings.tolerance or TOLERANCE[dtype]
        self.processes = VllmProcesses.create(world, settings.gpus // settings.tensor_parallel, processes_per_node)
        self.engines: list[VllmEngine] = []
        self.version: int | None = None  # of the weights in the engines
        self.check_batches = RowBatches(CHECKED_ROWS, what="the check of vLLM's log-probabilities")
        self.deterministic = deterministic
        self.checked = 0  # weight transfers whose log-probabilities were compared
        self.requests = ThreadPoolExecutor(1)  # sends one after the other, as an engine answers them

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
        """Transfer the weights if they have changed, then sample. Raises SamplerError or SamplerMismatch."""
        return self.begin(
            weights, prompts, pad, uniforms=uniforms, temperature=temperature, top_p=top_p, eos=eos
        ).samples

    def begin(
        self,
        weights: Weights,
        prompts: Tensor,
        pad: Tensor | None,
        *,
        uniforms: Tensor,
        temperature: float = 1.0,
        top_p: float = 1.0,
        eos: int | None = None,
    ) -> Pending:
        """The same, without waiting for engines in processes and on devices of their own, once they are checked."""
        started = time.perf_counter()
        transferred = self._sync(weights)
        sync_seconds = time.perf_counter() - started
        group = len(uniforms) // len(prompts)  # vLLM finds the prompt of a group in its cache, all but the first time
        prompts = prompts.repeat_interleave(group, 0)
        pad = None if pad is None else pad.repeat_interleave(group)
        starts = [0] * len(prompts) if pad is None else pad.tolist()
        request = Request(
            prompts=[ids[start:] for ids, start in zip(prompts.tolist(), starts, strict=True)],
            seeds=row_seeds(uniforms),
            by_row=self.deterministic or not on_gpu(),
            new=uniforms.shape[1],
            temperature=temperature,
            top_p=top_p,
            eos=eos,
        )
        answer = self.requests.submit(self._complete, request).result if self.overlaps else None
        work = answer or partial(self._complete, request)
        pending = Pending(wait=lambda: to_samples(self._collectively(work), prompts, eos), sync_seconds=sync_seconds)
        unchecked = transferred and self.checked < CHECKED_SYNCS
        if unchecked or answer is None:
            samples = pending.samples  # now, with these weights
            if unchecked:
                self._check(weights, prompts, pad, samples, temperature)
        return pending

    @property
    def overlaps(self) -> bool:
        """Do the engines sample while this process computes? Those that run in it, or on its GPU, do not."""
        return not self._shares_gpu and not isinstance(self.engines[0], InProcessEngine)

    @property
    def _shares_gpu(self) -> bool:
        return self.processes.shared and on_gpu()

    def release_device(self) -> None:
        """Put the engines to sleep if they share the trainer's device. They lose their weights."""
        if self.engines and self._shares_gpu:
            self._collectively(lambda: in_parallel(lambda engine: engine.sleep(), self.engines))
            self.version = None

    def close(self) -> None:
        """Shut the engines down and remove their folder."""
        for engine in self.engines:
            engine.close()
        self._settle()
        self.engines, self.version = [], None
        self.processes.close()

    def _sync(self, weights: Weights) -> bool:
        """Transfer the weights to the engines if they have changed. Returns True if they had."""
        if self.version == weights.version:
            return False
        self._settle()  # what was asked for is of the weights that the engines have
        if self._shares_gpu:
            weights.release()
        self._make_room()
        with weights.full_model() as model:
            if not self.engines:
                self.engines = self._collectively(lambda: self._start(model))
            self._collectively(lambda: self._load(model))
        self._make_room()  # of gathered weights, before the KV cache wakes
        self.version = weights.version
        return True

    def _settle(self) -> None:
        """Wait until all requests have ended, however they did."""
        self.requests.submit(lambda: None).result()

    def _make_room(self) -> None:
        """Give memory that the trainer has freed back to the device that it shares with the engines."""
        if self._shares_gpu:
            torch.cuda.empty_cache()

    def _start(self, model: LanguageModel) -> list[VllmEngine]:
        cuda = on_gpu()
        settings = VllmSettings(
            folder=str(self.processes.write_config(model)),
            dtype=self.dtype,
            longest=min(self.longest, model.context),
            cuda=cuda,
            tensor_parallel=self.settings.tensor_parallel,
            memory=self.settings.memory,
            cpu_cache_gib=self.settings.cpu_cache_gib,
            eager=self.settings.eager,
            sleeps=cuda and self.processes.shared,
        )
        own_process = self.settings.own_process or (cuda and self.deterministic)
        if self.processes.shared and not own_process and not dist.is_initialized():
            return [InProcessEngine(settings)]  # vLLM initializes torch.distributed, of which a process has only one
        return in_parallel(lambda process: RemoteEngine(settings, **vars(process)), self.processes.engines(settings))

    def _load(self, model: LanguageModel) -> None:
        if isinstance(self.engines[0], InProcessEngine):
            self.engines[0].load(model.hf_state())
            return
        folder = self.processes.write_weights(model)
        in_parallel(lambda engine: engine.load(folder), self.engines)

    def _complete(self, request: Request) -> Completions:
        """The completions of all rows, which are divided over the engines of this process."""
        pairs = zip(self.engines, split_request(request, len(self.engines)), strict=True)
        parts = in_parallel(lambda pair: pair[0].complete(pair[1]), [pair for pair in pairs if pair[1].seeds])
        return Completions(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Completions)})

    def _collectively(self, work: Callable[[], T]) -> T:
        """Run `work` in all processes; if one fails, all raise, so that none dead-locks in a collective operation."""
        failure: SamplerError | None = None
        results: list[T] = []
        try:
            results.append(work())
        except SamplerError as error:
            failure = error
        if self.world.max(int(failure is not None)):
            raise failure or SamplerError("the sampler of another process of this run failed")
        return results[0]

    @torch.no_grad()
    def _check(
        self, weights: Weights, prompts: Tensor, pad: Tensor | None, samples: Samples, temperature: float
    ) -> None:
        """Raise SamplerMismatch if the trainer's log-probabilities of the same tokens differ beyond the tolerance."""
        ids = torch.cat([prompts, samples.tokens], 1)
        with weights.full_model() as model:

            def of_rows(rows: slice) -> Tensor:
                own = None if pad is None else pad[rows]
                return model(ids[rows], own, samples.mask[rows], temperature=temperature or 1.0)

            logp = self.check_batches.tensor(of_rows, len(ids))
        difference = (samples.logp - logp.to(samples.logp)).abs()[samples.mask]
        mean, largest = self.world.max(float(difference.mean())), self.world.max(float(difference.max()))
        self.checked += 1
        if not mean <= self.tolerance:  # NaN is a mismatch too
            raise SamplerMismatch(mismatch_message(mean, largest, self.tolerance, self.checked))


def on_gpu() -> bool:
    """Does this process train on a GPU?"""
    return torch.get_default_device().type == "cuda"


def in_parallel(work: Callable[[Item], T], items: Sequence[Item]) -> list[T]:
    """The results of `work` on each item, in one thread per item: they wait for other processes."""
    if len(items) == 1:
        return [work(items[0])]
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(work, items))


def mismatch_message(mean: float, largest: float, tolerance: float, sync: int) -> str:
    """The message for log-probabilities that differ after weight transfer number `sync`."""
    weights = "start weights" if sync == 1 else "weights of the first update"
    return (
        f"vLLM and the trainer disagree on the log-probabilities of the same tokens after the {weights} were "
        f"transferred to vLLM: by {mean:.2g} on average and {largest:.2g} at most, where hardware.vllm.tolerance "
        f"allows {tolerance:g} on average. Either vLLM does not have the policy's weights, or it computes this model "
        "differently. Set hardware.numerics.sampler=torch; or hardware.numerics.dtype=float32 if the cause is "
        "rounding; or, if you know the cause, a larger hardware.vllm.tolerance with sampling.importance_cap=2, which "
        "corrects for the difference"
    )


def row_seeds(uniforms: Tensor) -> list[int]:
    """One seed per row [B] from its uniform numbers [B T]: 24 bits from each of the first two."""
    first, second = (uniforms[:, min(column, uniforms.shape[1] - 1)].double() for column in (0, 1))
    return ((first * 2**24).long() * 2**24 + (second * 2**24).long()).tolist()


def split_request(request: Request, count: int) -> list[Request]:
    """Divide a request into `count` requests of consecutive rows, one for each engine."""
    rows = len(request.seeds)
    ends = [rows * number // count for number in range(count + 1)]
    common = {name: value for name, value in vars(request).items() if name not in ("prompts", "seeds")}
    return [
        Request(prompts=request.prompts[start:end], seeds=request.seeds[start:end], **common)
        for start, end in pairwise(ends)
    ]


def to_samples(completions: Completions, prompts: Tensor, eos: int | None) -> Samples:
    """vLLM's completions as samples on the trainer's device, filled with `eos` after their end."""
    new = completions.tokens.shape[1]
    mask = torch.arange(new, device="cpu") < completions.lengths[:, None]
    tokens = completions.tokens.where(mask, -1 if eos is None else eos)
    tokens, mask, logp, ended = (x.to(prompts.device) for x in (tokens, mask, completions.logp, completions.ended))
    return Samples(tokens=tokens, mask=mask, logp=logp, ended=ended)
