"""Random experience for any algorithm, and the advantages, losses and gradients that the algorithm computes from it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from align_lab.base.contracts import Algorithm
from align_lab.base.types import Advantage, Batch, PolicyOutput, Rollout

LONGEST = 12  # tokens that a completion may have, whatever the padding
Experience = dict[str, Tensor]
TOKENWISE = ("logp_old", "logp_ref", "value", "logp", "new_value", "entropy")  # read at counted tokens alone


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
    per_group = {
        "score": torch.randn(P, G, generator=random, dtype=torch.float64),
        "score_greedy": torch.randn(P, generator=random, dtype=torch.float64),
        "noise": torch.rand(P, G, generator=random, dtype=torch.float64),
        "origin": torch.arange(P) % 2,
        "ended": length.squeeze(-1) < T,
    }
    return {"mask": mask, "logp_old": old, **free, **near, "entropy": free["value"].abs(), **per_group}


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
    return Rollout(
        mask=w["mask"],
        score=w["score"],
        logp_old=w["logp_old"],
        logp_ref=w["logp_ref"],
        value=w["value"],
        ended=w["ended"],
        longest=LONGEST,
        score_greedy=w["score_greedy"],
        origin=w["origin"],
        noise=w["noise"],
    )


def batch(
    w: Experience, advantages: Advantage, rows: slice = slice(None), statistics: Mapping[str, Tensor] | None = None
) -> Batch:
    """Some prompts of the minibatch, with the denominators and statistics of the whole minibatch."""
    returns = None if advantages.returns is None else advantages.returns[rows]
    return Batch(
        mask=w["mask"][rows],
        logp_old=w["logp_old"][rows],
        logp_ref=w["logp_ref"][rows],
        value=w["value"][rows],
        logp_ref_mismatched=w["logp_ref"].roll(1, 0)[rows],
        longest=LONGEST,
        origin=w["origin"][rows],
        noise=w["noise"][rows],
        statistics=statistics or {},
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


def statistics(algorithm: Algorithm, w: Experience, advantage: Advantage, parts: int = 1) -> dict[str, Tensor]:
    """What the algorithm sums over a minibatch in this number of micro-batches, with completions of other prompts."""
    totals: dict[str, Tensor] = {}
    for rows in _parts(len(w["mask"]), parts) if algorithm.needs.statistics else ():
        now = replace(
            policy_output(algorithm, w, rows),
            logp_mismatched=w["logp"].roll(1, 0)[rows],
            mask_mismatched=w["mask"].roll(1, 0)[rows],
        )
        for name, value in algorithm.statistics(now, batch(w, advantage, rows)).items():
            totals[name] = totals.get(name, torch.zeros(())) + value.detach()
    return totals


def _parts(count: int, parts: int) -> list[slice]:
    bounds = [count * i // parts for i in range(parts + 1)]
    return [slice(*ends) for ends in itertools.pairwise(bounds)]


def evaluate(algorithm: Algorithm, w: Experience, *, parts: int = 1) -> Result:
    """Advantages, then loss, gradients and metrics summed over micro-batches of prompts."""
    advantage, _ = algorithm.advantages(rollout(w), algorithm.init_state())
    whole = statistics(algorithm, w, advantage, parts)
    loss, metrics, grads = torch.zeros(()).double(), {}, []
    for rows in _parts(len(w["mask"]), parts):
        now = policy_output(algorithm, w, rows)
        out = algorithm.loss(now, batch(w, advantage, rows, whole))
        out.loss.backward()
        loss = loss + out.loss.detach()
        metrics = {name: metrics.get(name, 0) + value for name, value in out.metrics.items()}
        value = now.logp if now.value is None else now.value
        grads.append((_gradient(now.logp), torch.zeros_like(value) if now.value is None else _gradient(value)))
    to_logp, to_value = (torch.cat(parts) for parts in zip(*grads, strict=True))
    return Result(advantage.advantage, advantage.returns, loss, (to_logp, to_value), metrics)


def _gradient(x: Tensor) -> Tensor:
    return torch.zeros_like(x) if x.grad is None else x.grad
