"""How the blocks of a model compute while it learns: again in the backward pass, or compiled. Sampling is left alone.

A block is any member of the model's longest ModuleList: that is where the layers of a transformer are, ours or another's.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def prepare(model: nn.Module, *, recompute: bool, compiled: bool) -> None:
    """Change, in place, how blocks compute where there is a gradient; what they compute stays, up to rounding.

    `recompute`: activations inside a block are thrown away and computed again (arXiv 1604.06174). `compiled`: torch.compile.
    """
    if not (recompute or compiled):
        return
    kinds: dict[type, Callable[..., Any]] = {}  # one compilation serves all blocks of a kind
    for block in blocks(model):
        kind = type(block)
        if kind not in kinds:
            kinds[kind] = _learning(kind.forward, recompute=recompute, compiled=compiled)
        block.forward = MethodType(kinds[kind], block)  # a method, so that a copy of the model calls its own blocks


def blocks(model: nn.Module) -> list[nn.Module]:
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=len)) if lists else []


def _learning(forward: Callable[..., Any], *, recompute: bool, compiled: bool) -> Callable[..., Any]:
    inner = torch.compile(forward, dynamic=True) if compiled else forward

    def call(self: nn.Module, *inputs: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(self, *inputs, **options)
        if not recompute:
            return inner(self, *inputs, **options)
        return checkpoint(inner, self, *inputs, use_reentrant=False, preserve_rng_state=False, **options)

    return call
