"""The interface of a causal language model, implemented by `Llama` and by any model of transformers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from align_lab.models.logp import response_logps
from align_lab.models.packing import Packing


class Cache(Protocol):
    """A KV cache: keys and values of all columns processed so far."""

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows: indices [B'], or a mask [B]."""
        ...


class GrowingCache(Cache, Protocol):
    """A KV cache to which any number of columns is added."""

    def repeat(self, rows: Tensor, length: int) -> GrowingCache:
        """A cache of these rows [B'], of which one may occur several times, for at most `length` columns."""
        ...

    def fixed(self, length: int) -> Cache:
        """The same columns in shapes that do not change any more, to which one column at a time is added, until there
        are `length`."""
        ...


class LanguageModel(nn.Module, ABC):
    """Token ids -> hidden states; the output head [V D] is applied separately, only at the positions that need logits.

    Rows of unequal length are left-padded by `pad` [B] columns; None if no row is padded.
    """

    context: int  # longest sequence, prompt and response together
    width: int  # D
    packing: str = "off"  # `hardware.numerics.packing`, of a model that can pack rows
    body_dtype: torch.dtype | None = None  # that the body computes in, where an engine stores weights of another one

    @property
    def dtype(self) -> torch.dtype:
        """What the body computes in."""
        return self.body_dtype or self.head.dtype

    @property
    @abstractmethod
    def head(self) -> Tensor:
        """Output weights [V D]."""

    @abstractmethod
    def hidden(self, ids: Tensor, pad: Tensor | None = None) -> Tensor:
        """ids [B L] -> hidden states [B L D] after the final norm."""

    def packs(self) -> bool:
        """Are rows of unequal length computed behind each other, without their padding?"""
        return False

    def packed(self, ids: Tensor, packing: Packing) -> Tensor:
        """Rows ids [B S+T] without their padding -> hidden states [N D], of a model that packs rows."""
        raise NotImplementedError(f"{type(self).__name__} does not pack rows")

    @abstractmethod
    def new_cache(self, rows: int, length: int) -> GrowingCache:
        """An empty KV cache for `rows` sequences of at most `length` tokens."""

    @abstractmethod
    def step(self, ids: Tensor, cache: Any, pad: Tensor | None = None) -> Tensor:
        """Process the next columns [B S], add them to the cache, and return the hidden state [B D] of the last one."""

    def fixed(self, cache: Any, length: int) -> Cache:
        """`GrowingCache.fixed`, or the cache itself where the model can't compute with fixed shapes."""
        return cache.fixed(length)

    @abstractmethod
    def hf_state(self) -> dict[str, Tensor]:
        """Weights under the names of transformers, with adapters merged, for vLLM and for export."""

    @abstractmethod
    def hf_config(self, *, eos: int | None = None) -> dict[str, Any]:
        """The content of transformers' `config.json`; `eos` is the end-of-sequence token."""

    def forward(
        self, ids: Tensor, pad: Tensor | None, mask: Tensor, *, temperature: float = 1.0, entropy: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """`response_logps`, as a call of the module: engines that shard or wrap it hook into `forward`."""
        options: Any = {"temperature": temperature, "entropy": entropy}  # `entropy` selects the overload at run time
        return response_logps(self, ids, pad, mask, **options)
