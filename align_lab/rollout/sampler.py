"""What every sampler takes and gives, and the random numbers it uses."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from align_lab.models.language_model import LanguageModel


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Completions of B rows. After its end a row holds the end token, mask False and log-probability 0."""

    tokens: Tensor  # [B T] int64
    mask: Tensor  # [B T] bool; the end token counts
    logp: Tensor  # [B T] at the sampling temperature, under the whole (untruncated) distribution
    ended: Tensor  # [B] bool: the row wrote the end token
    sync_seconds: float = 0.0  # of the call, spent on bringing the weights to where they sample


class Weights(Protocol):
    """A policy that may be learning, and may be spread over processes."""

    @property
    def version(self) -> int:
        """Another number after every change."""
        ...

    def whole(self) -> AbstractContextManager[LanguageModel]:
        """The model with every weight at hand. All processes enter together."""
        ...


class Sampler(Protocol):
    """Completes left-padded prompts [B S] with T tokens, from one uniform number [B T] a token."""

    name: str  # with its version where that is not torch's
    exact: bool  # its log-probabilities are those of training; where they are not, the trainer computes its own

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
    ) -> Samples: ...

    def rest(self) -> None:
        """Leave the device to the update until the next call. All processes rest together."""
        ...

    def close(self) -> None:
        """Let processes and memory go."""
        ...


def uniforms(seed: int, step: int, prompts: Sequence[int], samples: int, tokens: int) -> Tensor:
    """Numbers in [0, 1) for `samples` completions of each prompt, [P·G T], rows prompt by prompt.

    A row is a function of (seed, step, prompt, sample) alone: neither batch layout nor the number of processes matters.
    """
    rows = [
        np.random.default_rng([seed, step, int(prompt), sample]).random(tokens, dtype=np.float32)
        for prompt in prompts
        for sample in range(samples)
    ]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, tokens)
