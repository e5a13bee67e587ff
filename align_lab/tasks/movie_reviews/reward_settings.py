"""The hyper-parameters of training the reward model, apart from the component that is registered with them."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.registry import param


@dataclass(frozen=True, kw_only=True)
class RewardTraining:
    """How the reward model is trained on human ratings."""

    epochs: float = param(2.5, "passes over the reviews of the proxy half", above=0)
    batch: int = param(48, "reviews of one optimizer step; every pair of them is compared", low=2)
    body_lr: float = param(6e-4, "peak learning rate of AdamW, for the body that starts as the policy's", above=0)
    body_decay: float = param(0.1, "weight decay of the body", low=0)
    words_lr: float = param(10.0, "peak learning rate of SGD with momentum, for the words' weights", above=0)
    dropout: float = param(0.1, "share of the body's mean state that is dropped in training", low=0, high=0.9)
    average: float = param(0.3, "share of the last steps whose weights are averaged", above=0, high=1)
    seed: int = param(0, "of the order of the reviews", low=0)
