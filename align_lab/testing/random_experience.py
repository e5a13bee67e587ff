"""Random experience for any algorithm, and the advantages, losses and gradients that the algorithm computes from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from align_lab.base.contracts import Algorithm
from align_lab.base.types import Advantage, Batch, PolicyOutput, Rollout

Experience = dict[str, Tensor]
TOKENWISE = ("logp_old", "logp_ref", "value", "logp", "new_value", "entropy")


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
    """All that a loop can provide."""
    return Rollout(**{name: w[name] for name in ("mask", "score", "logp_old", "logp_ref", "value")})


def batch(w: Experience, advantages: Advantage, rows: slice = slice(None)) -> Batch:
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


def policy_output(algorithm: Algorithm, w: Experience, rows: slice = slice(None)) -> PolicyOutput:
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


def evaluate(algorithm: Algorithm, w: Experience, *, parts: int = 1) -> Result:
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
        value = now.logp if now.value is None else now.value
        grads.append((_gradient(now.logp), torch.zeros_like(value) if now.value is None else _gradient(value)))
    to_logp, to_value = (torch.cat(parts) for parts in zip(*grads, strict=True))
    return Result(advantage.advantage, advantage.returns, loss, (to_logp, to_value), metrics)


def _gradient(x: Tensor) -> Tensor:
    return torch.zeros_like(x) if x.grad is None else x.grad
