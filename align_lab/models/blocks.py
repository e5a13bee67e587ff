"""Gradient checkpointing and compilation of a model's blocks, in training only; sampling is unaffected.

A block is any member of the model's longest ModuleList, which holds the layers of a transformer in every code base.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def configure_blocks(model: nn.Module, *, gradient_checkpointing: bool, compiled: bool) -> None:
    """Replace, in place, the forward of every block where gradients are enabled; results are equal up to rounding.

    `gradient_checkpointing` recomputes activations inside a block in the backward pass (arXiv 1604.06174); `compiled`
    applies torch.compile.
    """
    if not (gradient_checkpointing or compiled):
        return
    forwards: dict[type, Callable[..., Any]] = {}  # one compilation for all blocks of a class
    for block in blocks(model):
        kind = type(block)
        if kind not in forwards:
            forwards[kind] = _training_forward(kind.forward, gradient_checkpointing, compiled)
        block.forward = MethodType(forwards[kind], block)  # a method, so that a copy of the model calls its own blocks


def blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model; empty for a model without a ModuleList."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=len)) if lists else []


def _training_forward(forward: Callable[..., Any], gradient_checkpointing: bool, compiled: bool) -> Callable[..., Any]:
    inner = torch.compile(forward, dynamic=True) if compiled else forward

    def call(self: nn.Module, *inputs: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(self, *inputs, **options)
        if not gradient_checkpointing:
            return inner(self, *inputs, **options)
        return checkpoint(inner, self, *inputs, use_reentrant=False, preserve_rng_state=False, **options)

    return call
