"""Settings of supervised fine-tuning. This module is imported without torch."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.registry import checked, param


@checked
@dataclass(frozen=True, kw_only=True)
class Sft:
    """Supervised fine-tuning from random weights: optimizers, schedule and amount of text."""

    epochs: float = param(2.0, "passes over the texts", above=0)
    batch_tokens: int = param(1536, "tokens per optimizer step", low=1)
    matrix_lr: float = param(0.025, "peak learning rate of Muon, for the matrices", above=0)
    vector_lr: float = param(5e-3, "peak learning rate of AdamW, for the embedding and the norms", above=0)
    weight_decay: float = param(0.05, "weight decay of Muon", low=0)
    warmup: float = param(0.05, "fraction of the steps in which the learning rates rise", low=0, high=1)
    decay: float = param(0.6, "fraction of the steps in which the learning rates fall to 0", above=0, high=1)
    seed: int = param(0, "seed of the initial weights and of the order of the texts", low=0)
