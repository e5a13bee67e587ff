"""What several models may be set to. Read without torch."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.registry import checked, param


@checked
@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters (arXiv 2106.09685) on every matrix of the blocks."""

    rank: int = param(0, "rank r of the adapters; 0: none, all weights learn", low=0)
    alpha: int = param(32, "α, their output counts α / r", above=0)
    seed: int = param(0, "of the start of the matrices A; B starts at 0", low=0)
