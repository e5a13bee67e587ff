"""Random experience for any algorithm, and the advantages, losses and gradients that the algorithm computes from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from align_lab.base import registry
from align_lab.base.types import Batch, PolicyOutput, Rollout

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
    "reinforce_pp_discounted": {"name": "reinforce_pp", "gamma": 0.9},
    "dpo_with_label_noise": {"name": "dpo", "label_smoothing": 0.1},
}
ALGORITHMS = {**{name: {"name": name} for name in NAMES}, **VARIANTS}
TOKENWISE = ("logp_old", "logp_ref", "value", "logp", "new_value", "entropy")
Experience = dict[str, Tensor]


def build(name: str, **fields: Any) -> Any:
    return registry.build("algo", {**ALGORITHMS[name], **fields})


def experience(seed: int, *, P: int = 3, G: int = 2, T: int = 5, holes: bool = False) -> Experience:
    """Random tensors [P G T] and scores [P G]; masks are right-padded or have holes, every completion has a token."""
    random = torch.Generator().manual_seed(seed)
    length = torch.randint(1, T + 1, (P, G, 1), generator=random)
    mask = torch.arange(T) < length
    if holes:
        mask = (torch.rand(P, G, T, generator=random) < 0.6) | (torch.arange(T) == length - 1)
    old = -3 * torch.rand(P, G, T, generator=random, dtype=torch.float64) - 0.05
    free = {
        name: torch.randn(P, G, T, generator=random, dtype=torch.float64)
        for name in ("logp_ref", "logp", "value", "new_value")
    }
    near = {name: old + free[name] / 3 for name in ("logp_ref", "logp")}
    score = torch.randn(P, G, generator=random, dtype=torch.float64)
    return {"mask": mask, "score": score, "logp_old": old, **free, **near, "entropy": free["value"].abs()}


@dataclass(frozen=True)
class Result:
    """What an algorithm computes from one experience."""

    advantage: Tensor
    returns: Tensor | None
    loss: Tensor
    grads: tuple[Tensor, Tensor]  # with respect to logp and value
    metrics: dict[str, Tensor]


def rollout(w: Experience) -> Rollout:
    return Rollout(**{name: w[name] for name in ("mask", "score", "logp_old", "logp_ref", "value")})


def batch(w: Experience, advantages: Any, rows: slice = slice(None)) -> Batch:
    """Some prompts of the minibatch, with the denominators of the whole minibatch."""
    part = {name: w[name][rows] for name in ("mask", "logp_old", "logp_ref", "value")}
    returns = None if advantages.returns is None else advantages.returns[rows]
    return Batch(
        **part,
        advantage=advantages.advantage[rows],
        returns=returns,
        tokens=float(w["mask"].sum()),
        sequences=float(w["score"].numel()),
    )


def policy_output(algorithm: Any, w: Experience, rows: slice = slice(None)) -> PolicyOutput:
    """The outputs that the algorithm needs and no others; human text has one row per prompt."""
    needs, logp = algorithm.needs, w["logp"][rows].clone().requires_grad_()
    value = w["new_value"][rows].clone().requires_grad_() if needs.critic else None
    human = (
        {
            "logp_pretrain": w["logp_old"][rows, 0],
            "mask_pretrain": w["mask"][rows, 0],
            "tokens_pretrain": float(w["mask"][:, 0].sum()),
        }
        if needs.pretrain_batch
        else {}
    )
    return PolicyOutput(logp=logp, value=value, entropy=w["entropy"][rows] if needs.entropy else None, **human)


def evaluate(algorithm: Any, w: Experience, *, parts: int = 1) -> Result:
    """Advantages, then loss, gradients and metrics summed over micro-batches of prompts."""
    advantage, _ = algorithm.advantages(rollout(w), algorithm.init_state())
    P = w["mask"].shape[0]
    bounds = [P * i // parts for i in range(parts + 1)]
    loss, metrics, grads = torch.zeros(()).double(), {}, []
    for rows in map(slice, bounds, bounds[1:]):
        now = policy_output(algorithm, w, rows)
        out = algorithm.loss(now, batch(w, advantage, rows))
        out.loss.backward()
        loss = loss + out.loss.detach()
        metrics = {name: metrics.get(name, 0) + value for name, value in out.metrics.items()}
        grads.append((now.logp.grad, torch.zeros_like(now.logp) if now.value is None else now.value.grad))
    return Result(
        advantage.advantage, advantage.returns, loss, tuple(map(torch.cat, zip(*grads, strict=True))), metrics
    )


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
