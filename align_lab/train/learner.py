"""The models that are trained, with their engines: the policy, and a critic if the algorithm has one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from align_lab.base.hyperparameters import Train
from align_lab.base.world import World
from align_lab.models.language_model import LanguageModel
from align_lab.models.precision import wide
from align_lab.train.engines.engine import Engine, MakeEngine
from align_lab.train.engines.overlap import Overlap
from align_lab.train.engines.torch_engine import TorchEngine


class Critic(nn.Module):
    """A value for every response token: a separate backbone, a scalar head on the hidden state *before* the token."""

    def __init__(self, backbone: LanguageModel, head: Tensor | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        width = backbone.width
        start = torch.zeros(width) if head is None else head
        self.head = nn.Parameter(start.to(backbone.head.dtype, copy=True))

    def forward(self, ids: Tensor, pad: Tensor | None, length: int) -> Tensor:
        """ids [B S+T], left padding [B] -> values [B T], T = `length`."""
        hidden = self.backbone.hidden(ids, pad)[:, -length - 1 : -1]
        return wide(hidden) @ wide(self.head)


@dataclass
class Learner:
    """The models with their engines, which hold the optimizers. `step` is the only place where weights change."""

    plan: Train
    policy: LanguageModel
    critic: Critic | None = None
    temperature: float = 1.0
    version: int = 0  # updates so far; a sampler with its own copy of the weights compares it with that of its copy
    make_engine: MakeEngine = TorchEngine
    engines: dict[str, Engine] = field(init=False)
    overlap: Overlap | None = field(init=False, default=None)  # of several processes

    def __post_init__(self) -> None:
        self.engines = {"policy": self.make_engine(self.policy, name="policy", plan=self.plan, lr=self.plan.lr)}
        if self.critic is not None:
            engine = self.make_engine(self.critic, name="critic", plan=self.plan, lr=self.plan.critic_lr)
            self.engines["critic"] = engine

    @property
    def sharded(self) -> bool:
        """Is a forward pass a collective operation, because a process has only a part of the weights?"""
        return any(engine.sharded for engine in self.engines.values())

    @property
    def waits(self) -> bool:
        """Does a micro-batch wait for those of other processes?"""
        return any(engine.waits for engine in self.engines.values())

    def logps(
        self, ids: Tensor, pad: Tensor | None, mask: Tensor, *, entropy: bool = False, temperature: float | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """ids [B S+T], mask [B T] -> log-probabilities and, if requested, entropies [B T].

        `temperature`: None is the sampling temperature.
        """
        temperature = self.temperature if temperature is None else temperature
        out = self.engines["policy"](ids, pad, mask, temperature=temperature, entropy=entropy)
        return out if entropy else (out, None)

    def values(self, ids: Tensor, pad: Tensor | None, length: int) -> Tensor | None:
        """ids [B S+T] -> the critic's values [B T], T = `length`; None without a critic."""
        return self.engines["critic"](ids, pad, length) if self.critic is not None else None

    def zero_grad(self, *, policy: bool = True) -> None:
        """Clear the gradients before the micro-batches of an update. `policy=False`: train the critic alone."""
        self._restore()
        if self.overlap is not None:
            self.overlap.finish()  # the sums of an update that ran out of memory
        for name, engine in self.engines.items():
            engine.zero_grad(learning=policy or name != "policy")

    def backward(self, loss: Tensor, *, last: World | None = None) -> None:
        """Accumulate the gradient of one micro-batch. `last`: the processes, if it is the last one of an update."""
        if last is not None:
            self.begin_reducing(last)
        loss.backward()
        for engine in self.engines.values():
            engine.backward()

    def begin_reducing(self, world: World) -> None:
        """From now on gradients are summed over processes as the backward pass completes them. It may be said twice."""
        if world.size > 1:
            self.overlap = self.overlap or Overlap(
                [g for e in self.engines.values() for g in e.summed_while_complete()]
            )
            self.overlap.begin(world)

    def reduce_rest(self) -> None:
        """Begin to sum the gradients that no backward pass will complete. A collective operation."""
        if self.overlap is not None:
            self.overlap.start_rest()

    def _finish_sums(self, world: World) -> None:
        self.begin_reducing(world)
        if self.overlap is not None:
            self.overlap.finish()

    def step(self, world: World, *, number: int, policy_from: int = 0) -> dict[str, float]:
        """Sum gradients over processes, clip them, update the weights. Returns the gradient norms before clipping.

        Before step `policy_from` only the critic is trained; the policy's warm-up begins at that step.

        Raises DivergedError, before any weight is touched, when a norm is not finite.
        """
        self._finish_sums(world)
        for engine in self.engines.values():
            engine.reduce()
        for name, engine in self.engines.items():
            first = policy_from if name == "policy" else 0
            if number >= first:
                engine.step(schedule(self.plan, number, first=first))
        self.version += 1
        return {
            f"optim/{name}_grad_norm": engine.norm for name, engine in self.engines.items() if engine.norm is not None
        }

    def rate(self, *, number: int, policy_from: int = 0) -> float:
        """The policy's learning rate at step `number`; 0 while only the critic is trained."""
        return self.plan.lr * schedule(self.plan, number, first=policy_from) if number >= policy_from else 0.0

    @contextmanager
    def full_model(self) -> Iterator[LanguageModel]:
        """The policy with all weights gathered. A collective operation: all processes enter it together."""
        with self.engines["policy"].full_model() as model:
            assert isinstance(model, LanguageModel)
            yield model

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer states, in a format that does not depend on the engine.

        A collective operation: all processes call it, and of several each gets a slice of every tensor.
        """
        self._restore()
        return {name: engine.state_dict() for name, engine in self.engines.items()}

    def release(self) -> None:
        """Free the device's memory of what only updates need, until the next update or checkpoint."""
        for engine in self.engines.values():
            engine.release()

    def _restore(self) -> None:
        for engine in self.engines.values():
            engine.resting.restore()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._restore()
        for name, engine in self.engines.items():
            engine.load_state_dict(state[name])
        self.version += 1


def schedule(plan: Train, step: int, *, first: int = 0) -> float:
    """Factor on the learning rate at step `first`, `first` + 1, ... of a training that begins at step `first`.

    Linear warm-up, then constant, or linear or cosine decay that reaches 0 at step `plan.last_step`, wherever it began.
    """
    age, start = step - first, first + plan.warmup_steps
    warmup = min(1.0, (age + 1) / (plan.warmup_steps + 1))
    progress = min(1.0, max(0, step - start) / max(1, plan.last_step - start))
    decay = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return warmup * decay[plan.decay]
