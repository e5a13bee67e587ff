"""Settings of LoRA, shared by all models. This module is imported without torch."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.registry import checked, param


@checked
@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters (arXiv 2106.09685) on every matrix of the blocks."""

    rank: int = param(0, "rank r of the adapters; 0: no adapters, all weights are trained", low=0)
    alpha: int = param(32, "α, the output of an adapter is scaled by α / r", above=0)
    seed: int = param(0, "seed of the initialization of the matrices A; B is initialized to 0", low=0)
