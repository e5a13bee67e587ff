"""A vLLM engine in this process, started with random weights from a model's config; weights are loaded afterwards."""

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

FOLDER_PREFIX = "align_lab-"  # of the temporary folder that a run shares with its engines
ENVIRONMENT = {  # defaults, for variables that are not set
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine runs in the process that starts it
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
}


@dataclass(frozen=True, kw_only=True)
class VllmSettings:
    """The settings of one engine, as plain values: they are sent to its process as JSON."""

    folder: str  # contains config.json
    dtype: str
    longest: int  # maximum number of tokens, prompt and completion together
    cuda: bool
    tensor_parallel: int = 1
    memory: float = 0.4  # fraction of a GPU's memory
    cpu_cache_gib: float = 1.0
    eager: bool = False
    sleeps: bool = False  # the engine shares its device with the trainer and sleeps during updates


@dataclass(frozen=True, kw_only=True)
class Request:
    """B prompts to complete. `by_row`: each is drawn with its own seed; else all with the first, in vLLM's order."""

    prompts: list[list[int]]
    seeds: list[int]
    by_row: bool
    new: int
    temperature: float
    top_p: float
    eos: int | None


@dataclass(frozen=True, kw_only=True)
class Completions:
    """Completions as returned by vLLM, padded with zeros."""

    tokens: Tensor  # [B T] int64
    logp: Tensor  # [B T] float32
    lengths: Tensor  # [B] int64
    ended: Tensor  # [B] bool


class VllmEngine(Protocol):
    """A vLLM engine, in this process or in another one."""

    def load(self, weights: Mapping[str, Tensor] | Path) -> None:
        """Replace all weights."""
        ...

    def complete(self, request: Request) -> Completions:
        """Generate one completion per prompt."""
        ...

    def sleep(self) -> None:
        """Free the device's memory until the next `load`."""
        ...

    def close(self) -> None:
        """Shut the engine down."""
        ...


class InProcessEngine:
    """An engine in this process."""

    def __init__(self, settings: VllmSettings) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self.settings, self.asleep, self.temperature = settings, False, 1.0
        with self._guarded("start with this model"):
            self.llm = start(settings)

    def load(self, weights: Mapping[str, Tensor] | Path) -> None:
        """Replace all weights, from tensors of this process or from a folder with a safetensors file."""
        source = {"folder": str(weights)} if isinstance(weights, Path) else {"weights": iter(weights.items())}
        with self._guarded("load the weights"):
            self._wake("weights")
            self.llm.collective_rpc("align_lab_load", kwargs=source)

    def complete(self, request: Request) -> Completions:
        """Generate one completion per prompt. Raises SamplerError if vLLM fails."""
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        greedy = request.temperature == 0
        common: dict[str, Any] = {
            "max_tokens": request.new,
            "temperature": 0.0 if greedy else 1.0,  # a hook divides the logits by the temperature
            "top_p": request.top_p,
            "logprobs": 0,  # only of the sampled token
            "stop_token_ids": [] if request.eos is None else [request.eos],
            "ignore_eos": True,  # the run's end token ends a row, not one that a generation config names
            "detokenize": False,
        }
        with self._guarded("generate"):
            self._wake("kv_cache")
            self._set_temperature(1.0 if greedy else request.temperature)
            self.llm.reset_prefix_cache()  # results must depend only on the weights and the request
            if not request.by_row:
                self.llm.collective_rpc("align_lab_seed", args=(request.seeds[0] % 2**32,))
            outputs = self.llm.generate(
                [{"prompt_token_ids": ids} for ids in request.prompts],
                [SamplingParams(seed=seed if request.by_row else None, **common) for seed in request.seeds],
                use_tqdm=False,
            )
        return to_completions([output.outputs[0] for output in outputs], request.new)

    def sleep(self) -> None:
        """Free the device's memory for the trainer. The weights are discarded; `load` wakes the engine."""
        if self.settings.sleeps and not self.asleep:
            with self._guarded("sleep"):
                self.llm.sleep(level=2)
            self.asleep = True

    def close(self) -> None:
        """Shut vLLM down and free its memory."""
        with self._guarded("shut down"):
            from vllm.distributed import cleanup_dist_env_and_memory  # pyright: ignore[reportMissingImports]

            self.llm.llm_engine.engine_core.shutdown()
            del self.llm
            cleanup_dist_env_and_memory()

    @contextmanager
    def _guarded(self, action: str) -> Iterator[None]:
        """Raise SamplerError for any exception of vLLM or of a library that it uses."""
        try:
            with isolated(cuda=self.settings.cuda):
                yield
        except Exception as error:
            raise SamplerError(
                f"vLLM cannot {action} ({type(error).__name__}: {str(error).strip()}). Choose a model and a shape that "
                "it supports, change hardware.vllm.*, or set hardware.numerics.sampler=torch"
            ) from error

    def _wake(self, tag: str) -> None:
        if self.asleep:
            self.llm.wake_up(tags=[tag])
            self.asleep = tag == "weights"  # the KV cache is woken after the weights

    def _set_temperature(self, temperature: float) -> None:
        if temperature != self.temperature:
            self.llm.collective_rpc("align_lab_temperature", args=(temperature,))
            self.temperature = temperature


def start(settings: VllmSettings) -> Any:
    """A vLLM `LLM` with random weights and without a tokenizer."""
    from vllm import LLM  # pyright: ignore[reportMissingImports]

    memory: dict[str, Any] = (
        {"gpu_memory_utilization": settings.memory, "enable_sleep_mode": settings.sleeps}
        if settings.cuda
        else {"kv_cache_memory_bytes": int(settings.cpu_cache_gib * 2**30)}
    )
    return LLM(
        model=settings.folder,
        skip_tokenizer_init=True,
        load_format="dummy",
        generation_config="vllm",
        dtype=settings.dtype,
        max_model_len=settings.longest,
        tensor_parallel_size=settings.tensor_parallel,
        enforce_eager=settings.eager or not settings.cuda,
        worker_extension_cls="align_lab.rollout.vllm_extension.Extension",
        disable_log_stats=True,
        seed=0,
        **memory,
    )


def to_completions(outputs: list[Any], new: int) -> Completions:
    """vLLM's `CompletionOutput`s as tensors with `new` columns."""
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
def isolated(*, cuda: bool) -> Iterator[None]:
    """Restore the global state of the trainer's process that vLLM changes.

    vLLM emits warnings, seeds every random generator, replaces `torch.set_num_threads`, expects the CPU as the default
    device, has operators without a deterministic algorithm (its own batch-invariant mode makes it deterministic), and
    on the CPU compiles small functions for half a minute without a gain in speed.
    """
    python_state, numpy_state, set_num_threads = random.getstate(), np.random.get_state(), torch.set_num_threads
    stance = nullcontext() if cuda else torch.compiler.set_stance("force_eager")
    # the device context slows every call down, so it is entered only where it is needed
    device = torch.device("cpu") if torch.get_default_device().type != "cpu" else nullcontext()
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(False)
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), device, stance:
            warnings.simplefilter("ignore")  # warnings of vLLM and of its libraries
            logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_num_threads = set_num_threads
        torch.use_deterministic_algorithms(deterministic)
