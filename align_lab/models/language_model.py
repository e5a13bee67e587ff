"""What a causal language model offers to the rest of the house, whoever wrote it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from torch import Tensor, nn

from align_lab.models.logp import response_logps


class Cache(Protocol):
    """Keys and values of the columns seen so far."""

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these: indices [B'], or a mask [B]."""
        ...


class LanguageModel(nn.Module, ABC):
    """Token ids -> hidden states; a head [V D] turns these into logits where they are wanted.

    Rows of unequal length are padded on the left by `pad` [B] columns; None where no row is padded.
    """

    context: int  # longest sequence, prompt and response together
    width: int  # D

    @property
    @abstractmethod
    def head(self) -> Tensor:
        """Output weights [V D]."""

    @abstractmethod
    def hidden(self, ids: Tensor, pad: Tensor | None = None) -> Tensor:
        """ids [B L] -> hidden states [B L D] after the final norm."""

    @abstractmethod
    def new_cache(self, rows: int, length: int) -> Cache: ...

    @abstractmethod
    def step(self, ids: Tensor, cache: Any, pad: Tensor | None = None) -> Tensor:
        """The next columns [B S] after those in the cache -> hidden state [B D] of the last one."""

    @abstractmethod
    def hf_state(self) -> dict[str, Tensor]:
        """Weights under the names of transformers, adapters merged: what other engines and an export are given."""

    @abstractmethod
    def hf_config(self, *, eos: int | None = None) -> dict[str, Any]:
        """The content of transformers' `config.json`; `eos` ends a text."""

    def forward(
        self, ids: Tensor, pad: Tensor | None, mask: Tensor, *, temperature: float = 1.0, entropy: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """`response_logps`, as a call of the module: engines that shard or wrap it listen to calls."""
        return response_logps(self, ids, pad, mask, temperature=temperature, entropy=entropy)  # type: ignore[call-overload]
