"""The interface of samplers, and the random numbers that they use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from align_lab.base.random import stream
from align_lab.models.language_model import LanguageModel
from align_lab.models.precision import NARROW


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Completions of B rows. After its end token, a row is filled with end tokens, mask False, log-probability 0."""

    tokens: Tensor  # [B T] int64
    mask: Tensor  # [B T] bool; True at the end token, False after it
    logp: Tensor  # [B T] at the sampling temperature, under the full distribution (not truncated by top_p)
    ended: Tensor  # [B] bool: the completion has an end token

    def longest(self) -> int:
        """The tokens of the longest completion."""
        return int(self.mask.sum(1).max())

    def first(self, columns: int) -> Samples:
        """The same with this many columns, of which none that is left out may hold a token."""
        short = {name: getattr(self, name)[:, :columns] for name in ("tokens", "mask", "logp")}
        return replace(self, **short)


@dataclass(kw_only=True)
class Pending:
    """Completions that were asked for. Where another process samples them, this one goes on until it needs them."""

    wait: Callable[[], Samples]
    sync_seconds: float = 0.0  # in which weights were copied to the engine that samples

    @cached_property
    def samples(self) -> Samples:
        """The completions, once they are all there. A collective operation: all processes ask for them."""
        return self.wait()


class Weights(Protocol):
    """A policy whose weights change in training and may be sharded over processes."""

    @property
    def version(self) -> int:
        """A number that changes with every update of the weights."""
        ...

    def full_model(self) -> AbstractContextManager[LanguageModel]:
        """The model with all weights gathered in this process. A collective operation: all processes call it."""
        ...

    def release(self) -> None:
        """Free the device's memory of what only updates need, until the next update or checkpoint."""
        ...


class Sampler(Protocol):
    """Completes each of left-padded prompts [P S] G times with at most T tokens, B = P·G rows, prompt-major.

    A row takes one uniform random number per token, [B T]. The prompt of a group is read once for all of its rows.
    """

    name: str  # with the version of the engine, if that is not torch
    exact: bool  # log-probabilities equal those of training; otherwise the trainer recomputes them

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
        """Sample completions with the current weights. A collective operation: all processes call it."""
        ...

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
        """Ask for completions with the current weights, which may change before they are there. All processes call it.

        A sampler that computes in this process samples them now.
        """
        samples = self(weights, prompts, pad, uniforms=uniforms, temperature=temperature, top_p=top_p, eos=eos)
        return Pending(wait=lambda: samples)

    def release_device(self) -> None:
        """Free the device's memory for the update, until the next call. All processes call it."""
        ...

    def close(self) -> None:
        """End the processes and free the memory of the sampler."""
        ...


def is_exact(sampler: Sampler, model: LanguageModel) -> bool:
    """Are the sampler's log-probabilities those that training computes of the same tokens?

    A narrow body (bfloat16) rounds a single column otherwise than a whole sequence.
    """
    return sampler.exact and model.dtype not in NARROW


def uniforms(
    seed: int,
    step: int,
    prompts: Sequence[int],
    samples: int,
    tokens: int,
    *,
    passes: Sequence[int] = (),
    purpose: str = "sampling",
) -> Tensor:
    """Uniform numbers in [0, 1) for `samples` completions of each prompt, [P·G T], prompt-major.

    A row depends only on (purpose, seed, step, pass, prompt, sample), not on the batch layout or the number of
    processes. `passes`: of each prompt, how often it was drawn before, so that a step may use it twice; default 0.
    """
    rows = [
        stream(purpose, seed, step, number, prompt, sample).random(tokens, dtype=np.float32)
        for prompt, number in zip(prompts, passes or [0] * len(prompts), strict=True)
        for sample in range(samples)
    ]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, tokens)
