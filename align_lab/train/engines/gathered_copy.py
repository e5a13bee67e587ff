"""A copy of a sharded model that has weights only while it is used: sampling would gather a shard for every token."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class GatheredCopy:
    """The copy is made before the model is sharded. Its parameters are in the order of the model's."""

    def __init__(self, model: nn.Module) -> None:
        empty: dict[int, nn.Parameter] = {  # that a parameter occurs twice, as a tied head does, stays so
            id(p): nn.Parameter(torch.empty(0, dtype=p.dtype), requires_grad=False) for p in model.parameters()
        }
        self.model: nn.Module = copy.deepcopy(model, dict(empty))
        self._dtypes = [p.dtype for p in self.model.parameters()]

    @contextmanager
    def filled(self, sharded: nn.Module, gather: Callable[[nn.Parameter, torch.dtype], Tensor]) -> Iterator[nn.Module]:
        """The copy, with what `gather(parameter of the sharded model, dtype)` returns as weights. Collective."""
        pairs = list(zip(self.model.parameters(), sharded.parameters(), self._dtypes, strict=True))
        try:
            for own, parameter, dtype in pairs:
                own.data = gather(parameter, dtype)
            yield self.model
        finally:
            for own, _, dtype in pairs:
                own.data = own.data.new_empty(0, dtype=dtype)
