"""The hyper-parameters of training a reward model on preference pairs. This module is imported without torch."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.registry import param

SCORED_TOKENS = 8192  # of a batch of completions that are scored together


@dataclass(frozen=True, kw_only=True)
class PairTraining:
    """How the reward model is trained on preference pairs: AdamW on all weights of the backbone and on the head."""

    epochs: float = param(1.0, "passes over the training pairs", above=0)
    batch: int = param(16, "pairs of one optimizer step", low=1)
    lr: float = param(1e-4, "peak learning rate; lower for models of more than some 100 M parameters", above=0)
    weight_decay: float = param(0.0, "weight decay", low=0)
    max_grad_norm: float = param(1.0, "a longer gradient is clipped to this norm", above=0, infinite="never")
    centering: float = param(
        0.01, "weight of the mean of (score of chosen + score of rejected)², arXiv 2312.09244; 0: none", low=0
    )
    margin: str = param("", "column with the margin by which a pair's scores are to differ; empty: no margin")
    held_out: float = param(
        0.1,
        "share of the training pairs, whole prompts, to measure on where the data has no held-out pairs",
        low=0,
        high=0.5,
    )
    max_tokens: int = param(
        1024, "of prompt and completion; of a longer text, the beginning of the prompt is cut off", low=8
    )
    seed: int = param(0, "of the order of the pairs", low=0)
