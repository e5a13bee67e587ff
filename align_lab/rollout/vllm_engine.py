"""vLLM in this process: started with random weights from a model's config, fed with weights, asked for completions."""

from __future__ import annotations

import logging
import os
import random
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from align_lab.base.errors import SamplerError

PRIVATE = "align_lab-"  # how the name of a run's folder for its engines begins
QUIET = {  # only what nobody has set
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine lives where it was started
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
}


@dataclass(frozen=True, kw_only=True)
class VllmSettings:
    """How one engine is started. Plain values: it crosses a process boundary as JSON."""

    folder: str  # holds config.json
    dtype: str
    longest: int  # prompt and completion together, tokens
    cuda: bool
    tensor_parallel: int = 1
    memory: float = 0.4  # share of a GPU
    cpu_cache_gib: float = 1.0
    eager: bool = False
    sleeps: bool = False  # shares its device with the trainer


@dataclass(frozen=True, kw_only=True)
class Request:
    """Rows to complete. `seeds` [B] make each row's randomness its own."""

    prompts: list[list[int]]
    seeds: list[int]
    new: int
    temperature: float
    top_p: float
    eos: int | None


@dataclass(frozen=True, kw_only=True)
class Completions:
    """Rows as vLLM ended them, padded with zeros."""

    tokens: Tensor  # [B T] int64
    logp: Tensor  # [B T] float32
    lengths: Tensor  # [B] int64
    ended: Tensor  # [B] bool


class VllmEngine(Protocol):
    """vLLM, here or in a process of its own."""

    def load(self, weights: Mapping[str, Tensor] | Path) -> None: ...
    def complete(self, request: Request) -> Completions: ...
    def sleep(self) -> None: ...
    def close(self) -> None: ...


class Inside:
    """An engine in this process."""

    def __init__(self, plan: VllmSettings) -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        self.plan, self.asleep, self.temperature = plan, False, 1.0
        with self._guarded("start with this model"):
            self.llm = start(plan)

    def load(self, weights: Mapping[str, Tensor] | Path) -> None:
        """Replace all weights: tensors of this process, or a folder that holds them."""
        told = {"folder": str(weights)} if isinstance(weights, Path) else {"weights": iter(weights.items())}
        with self._guarded("take the weights"):
            self._wake("weights")
            self.llm.collective_rpc("align_lab_load", kwargs=told)

    def complete(self, request: Request) -> Completions:
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        greedy = request.temperature == 0
        common: dict[str, Any] = {
            "max_tokens": request.new,
            "temperature": 0.0 if greedy else 1.0,  # logits are divided by the temperature where they are made
            "top_p": request.top_p,
            "logprobs": 0,  # of the token that was sampled, and no other
            "stop_token_ids": [] if request.eos is None else [request.eos],
            "ignore_eos": True,  # the one end is ours, not one that a config may name
            "detokenize": False,
        }
        with self._guarded("generate"):
            self._wake("kv_cache")
            self._set(1.0 if greedy else request.temperature)
            self.llm.reset_prefix_cache()  # a call is a function of its weights and its rows alone
            found = self.llm.generate(
                [{"prompt_token_ids": ids} for ids in request.prompts],
                [SamplingParams(seed=seed, **common) for seed in request.seeds],
                use_tqdm=False,
            )
        return gathered([out.outputs[0] for out in found], request.new)

    def sleep(self) -> None:
        """Leave the device to the trainer. Weights are forgotten: `load` wakes."""
        if self.plan.sleeps and not self.asleep:
            with self._guarded("sleep"):
                self.llm.sleep(level=2)
            self.asleep = True

    def close(self) -> None:
        with self._guarded("end"):
            from vllm.distributed import cleanup_dist_env_and_memory  # pyright: ignore[reportMissingImports]

            self.llm.llm_engine.engine_core.shutdown()
            del self.llm
            cleanup_dist_env_and_memory()

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """Raises SamplerError for whatever vLLM, or a library below it, raises."""
        try:
            with undisturbed(cuda=self.plan.cuda):
                yield
        except Exception as error:
            raise SamplerError(
                f"vLLM cannot {what} ({type(error).__name__}: {str(error).strip()}). Choose a model and a shape that it "
                "supports, change hardware.vllm.*, or set hardware.numerics.sampler=torch"
            ) from error

    def _wake(self, tag: str) -> None:
        if self.asleep:
            self.llm.wake_up(tags=[tag])
            self.asleep = tag == "weights"  # the cache comes last

    def _set(self, temperature: float) -> None:
        if temperature != self.temperature:
            self.llm.collective_rpc("align_lab_temperature", args=(temperature,))
            self.temperature = temperature


def start(plan: VllmSettings) -> Any:
    """The engine, with random weights."""
    from vllm import LLM  # pyright: ignore[reportMissingImports]

    where: dict[str, Any] = (
        {"gpu_memory_utilization": plan.memory, "enable_sleep_mode": plan.sleeps}
        if plan.cuda
        else {"kv_cache_memory_bytes": int(plan.cpu_cache_gib * 2**30)}
    )
    return LLM(
        model=plan.folder,
        skip_tokenizer_init=True,
        load_format="dummy",
        generation_config="vllm",
        dtype=plan.dtype,
        max_model_len=plan.longest,
        tensor_parallel_size=plan.tensor_parallel,
        enforce_eager=plan.eager or not plan.cuda,
        worker_extension_cls="align_lab.rollout.vllm_extension.Extension",
        disable_log_stats=True,
        seed=0,
        **where,
    )


def gathered(outputs: list[Any], new: int) -> Completions:
    rows = len(outputs)
    tokens, logp = torch.zeros(rows, new, dtype=torch.int64), torch.zeros(rows, new)
    for row, out in enumerate(outputs):
        ids = list(out.token_ids)
        tokens[row, : len(ids)] = torch.tensor(ids)
        logp[row, : len(ids)] = torch.tensor([at[token].logprob for at, token in zip(out.logprobs, ids, strict=True)])
    return Completions(
        tokens=tokens,
        logp=logp,
        lengths=torch.tensor([len(out.token_ids) for out in outputs], dtype=torch.int64),
        ended=torch.tensor([out.finish_reason == "stop" for out in outputs], dtype=torch.bool),
    )


@contextmanager
def undisturbed(*, cuda: bool) -> Iterator[None]:
    """Let vLLM work in the trainer's process and give back what it changes for everyone.

    It warns, seeds every generator, forbids `torch.set_num_threads`, expects tensors without a device to be born on the
    processor, and where it runs there, compiles small functions for half a minute that are as fast without.
    """
    numbers, generator, threads = random.getstate(), np.random.get_state(), torch.set_num_threads
    compiled = nullcontext() if cuda else torch.compiler.set_stance("force_eager")
    born = torch.device("cpu") if torch.get_default_device().type != "cpu" else nullcontext()  # it costs every call
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), born, compiled:
            warnings.simplefilter("ignore")  # of its own code and its libraries
            logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
            yield
    finally:
        random.setstate(numbers)
        np.random.set_state(generator)
        torch.set_num_threads = threads
