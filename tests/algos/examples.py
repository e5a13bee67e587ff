"""The algorithms that tests run, and comparisons of what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from align_lab.base import registry
from align_lab.testing.random_experience import TOKENWISE, Experience, Result

registry.scan()
NAMES = registry.names("algo")
VARIANTS = {  # in addition to every algorithm's defaults: features that the defaults disable
    "rloo_without_kl": {"name": "rloo", "kl_coef": 0.0},
    "ppo_without_clips": {"name": "ppo", "clip": float("inf"), "value_clip": float("inf"), "gamma": 0.9, "lam": 0.7},
    "ppo_max_with_every_trick": {
        "name": "ppo_max",
        "score_norm": "scale",
        "advantage_norm": "batch",
        "advantage_clip": 0.5,
        "entropy_coef": 0.01,
        "ptx_coef": 0.3,
    },
    "grpo_without_kl": {"name": "grpo", "kl_coef": 0.0},
    "reinforce_pp_discounted": {"name": "reinforce_pp", "gamma": 0.9},
    "policy_gradient_like_grpo": {
        "name": "policy_gradient",
        "baseline": "group_mean",
        "normalization": "group",
        "kl": "k3_loss",
        "aggregation": "constant",
    },
    "policy_gradient_like_reinforce_pp": {
        "name": "policy_gradient",
        "baseline": "moving_average",
        "normalization": "batch",
        "kl": "token_reward",
    },
    "ipo_on_means": {"name": "ipo", "over_tokens": "mean"},
    "iterative_dpo_with_a_new_reference": {"name": "iterative_dpo", "reference": "round"},
    "kto_with_weights": {"name": "kto", "desirable_weight": 1.3, "undesirable_weight": 0.7},
    "sail_pp_without_pairs": {"name": "sail_pp", "share": 1.0},
    "sail_released_with_labels_of_the_reward": {"name": "sail_released", "labels": "reward", "coef": 0.3},
    "dpo_with_label_noise": {"name": "dpo", "label_smoothing": 0.1},
}
ALGORITHMS = {**{name: {"name": name} for name in NAMES}, **VARIANTS}


def build(name: str, **fields: Any) -> Any:
    return registry.build("algo", {**ALGORITHMS[name], **fields})


def same(a: Result, b: Result, change: Callable[[Tensor], Tensor] = lambda x: x) -> None:
    """Assert that b equals a after `change` of its tokenwise tensors."""
    torch.testing.assert_close(b.advantage, change(a.advantage))
    assert (a.returns is None) == (b.returns is None)
    if a.returns is not None:
        torch.testing.assert_close(b.returns, change(a.returns))
    torch.testing.assert_close(b.loss, a.loss)
    for grad_a, grad_b in zip(a.grads, b.grads, strict=True):
        torch.testing.assert_close(grad_b, change(grad_a))
    torch.testing.assert_close(b.metrics, a.metrics)


def tokenwise(w: Experience, change: Callable[[Tensor], Tensor], *, mask: Tensor) -> Experience:
    return {**w, **{name: change(w[name]) for name in TOKENWISE}, "mask": mask}
