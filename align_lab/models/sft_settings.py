"""Settings of supervised fine-tuning, from random weights and of a released model. Imported without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from align_lab.base.registry import checked, param


def _loss_on() -> Any:
    return param(
        "completion",
        "tokens that count in the loss; completion: those after the prompt, and all of a text without a prompt",
        choices=("completion", "all"),
    )


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
    loss_on: str = _loss_on()
    seed: int = param(0, "seed of the initial weights and of the order of the texts", low=0)


@checked
@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Supervised fine-tuning of a released model on the data's demonstrations: AdamW on all weights, before LoRA."""

    epochs: float = param(0.0, "passes over the demonstrations; 0: the model starts as it was released", low=0)
    batch_tokens: int = param(4096, "tokens per optimizer step", low=1)
    lr: float = param(2e-5, "peak learning rate of AdamW", above=0)
    weight_decay: float = param(0.0, "weight decay of AdamW", low=0)
    max_grad_norm: float = param(1.0, "a longer gradient is clipped to this norm", above=0, infinite="never")
    warmup: float = param(0.05, "fraction of the steps in which the learning rate rises", low=0, high=1)
    decay: float = param(0.6, "fraction of the steps in which the learning rate falls to 0", above=0, high=1)
    loss_on: str = _loss_on()
    seed: int = param(0, "seed of the order of the demonstrations", low=0)
