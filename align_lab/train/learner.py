"""The models that learn, with their optimisers: the policy, and a critic where the algorithm has one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from align_lab.errors import DivergedError
from align_lab.models.base import LanguageModel
from align_lab.train.parallel import World
from align_lab.train.recipe import Train


class Critic(nn.Module):
    """A value for every response token: backbone of its own, scalar head on the state *before* the token."""

    def __init__(self, backbone: LanguageModel, head: Tensor | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        width = backbone.width
        start = torch.zeros(width) if head is None else head
        self.head = nn.Parameter(start.to(backbone.head.dtype, copy=True))

    def forward(self, ids: Tensor, pad: Tensor | None, length: int) -> Tensor:
        """ids [B S+T], left padding [B] -> values [B T], T = `length`."""
        hidden = self.backbone.hidden(ids, pad)[:, -length - 1 : -1]
        return hidden @ self.head


@dataclass
class Learner:
    """Parameters and optimiser state. `step` is the only place where weights change."""

    plan: Train
    policy: LanguageModel
    critic: Critic | None = None
    temperature: float = 1.0
    version: int = 0  # updates so far; what samples elsewhere compares it with its own
    optimizers: dict[str, torch.optim.Optimizer] = field(init=False)

    def __post_init__(self) -> None:
        self.optimizers = {name: adamw(model, self.plan, lr) for name, model, lr in self._models()}

    def _models(self) -> Iterator[tuple[str, nn.Module, float]]:
        yield "policy", self.policy, self.plan.lr
        if self.critic is not None:
            yield "critic", self.critic, self.plan.critic_lr

    def logps(
        self, ids: Tensor, pad: Tensor | None, mask: Tensor, *, entropy: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """ids [B S+T], mask [B T] -> log-probabilities [B T] at the sampling temperature, and entropies where asked."""
        out = self.policy(ids, pad, mask, temperature=self.temperature, entropy=entropy)
        return out if entropy else (out, None)

    def step(self, world: World, *, number: int, policy_from: int = 0) -> dict[str, float]:
        """Sum gradients over processes, clip, update. Returns the gradient norms before clipping.

        Before step `policy_from` only the critic learns; the policy's warm-up begins there.

        Raises DivergedError before any weight is touched when a norm is not finite.
        """
        world.sum_(p.grad for p in self._parameters() if p.grad is not None)
        norms = {
            name: nn.utils.clip_grad_norm_(model.parameters(), self.plan.max_grad_norm)
            for name, model, _ in self._models()
        }
        for name, norm in norms.items():
            if not torch.isfinite(norm):
                raise DivergedError(
                    f"the gradient of the {name} is not finite at step {number}. The last good checkpoint "
                    "is kept. Try a lower train.lr, a larger algo.kl_coef, or a smaller train.max_grad_norm"
                )
        for name, _, lr in self._models():
            age = number - policy_from if name == "policy" else number
            for group in self.optimizers[name].param_groups:
                group["lr"] = lr * schedule(self.plan, age)
            if age >= 0:
                self.optimizers[name].step()
        self.version += 1
        return {f"optim/{name}_grad_norm": float(norm) for name, norm in norms.items()}

    @contextmanager
    def whole(self) -> Iterator[LanguageModel]:
        """The policy with every weight at hand."""
        yield self.policy

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of one micro-batch."""
        loss.backward()

    def zero_grad(self) -> None:
        for parameter in self._parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.zero_()

    def _parameters(self) -> Iterator[nn.Parameter]:
        for _, model, _ in self._models():
            yield from model.parameters()

    def state_dict(self) -> dict[str, Any]:
        return {
            name: {"model": model.state_dict(), "optimizer": self.optimizers[name].state_dict()}
            for name, model, _ in self._models()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, model, _ in self._models():
            model.load_state_dict(state[name]["model"])
            self.optimizers[name].load_state_dict(state[name]["optimizer"])
        self.version += 1


def adamw(model: nn.Module, plan: Train, lr: float) -> torch.optim.Optimizer:
    """AdamW; weight decay acts on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=lr, betas=(plan.beta1, plan.beta2), eps=plan.adam_eps, fused=True
    )


def schedule(plan: Train, step: int) -> float:
    """Factor on the learning rate at step 0, 1, ...: linear warm-up, then constant, linear or cosine towards 0."""
    warm = min(1.0, (step + 1) / (plan.warmup_steps + 1))
    done = min(1.0, max(0, step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps))
    return warm * {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[plan.decay]
