"""Algorithms."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from align_lab.base.contracts import Algorithm
from align_lab.base.types import Advantage, LossOutput, Needs
from tests.testing.broken.collected import broken, component


class Reinforce(Algorithm):
    """Keeps the contract, but for what a subclass changes."""

    @property
    def needs(self):
        return Needs()

    def advantages(self, x, state):
        return Advantage(advantage=x.score[..., None] * x.mask), state

    def loss(self, now, x):
        from align_lab import equations as eq

        return LossOutput(loss=eq.masked_mean(-x.advantage * now.logp, x.mask, over=x.sequences))


@component("algo", "sound")
class Sound(Reinforce):
    """Keeps the contract."""


@broken("algo", "needs are declared")
class NeedsAsDict(Reinforce):
    @property
    def needs(self):
        return {"reference": True}


@broken("algo", "advantages have the shape of the rollout")
class ScoresAsAdvantages(Reinforce):
    def advantages(self, x, state):
        return Advantage(advantage=x.score), state


@broken("algo", "advantages have the shape of the rollout")
class AdvantagesUnderTheMask(Reinforce):
    def advantages(self, x, state):
        return Advantage(advantage=x.score[..., None].expand(x.mask.shape)), state


@broken("algo", "nothing under the mask matters")
class NaNLeaks(Reinforce):
    def loss(self, now, x):
        return LossOutput(loss=(-x.advantage * now.logp * x.mask).sum() / x.sequences)


@broken("algo", "what is not needed may be absent")
class UndeclaredReference(Reinforce):
    def loss(self, now, x):
        return LossOutput(loss=((now.logp - x.logp_ref).nan_to_num() * x.mask).sum() / x.sequences)


@broken("algo", "the loss is a finite scalar with a gradient")
class LossPerSample(Reinforce):
    def loss(self, now, x):
        return LossOutput(loss=(-x.advantage * now.logp).sum(-1))


@broken("algo", "the losses of parts add up")
class DividesByItsOwnSize(Reinforce):
    def loss(self, now, x):
        from align_lab import equations as eq

        return LossOutput(loss=eq.masked_mean(-x.advantage * now.logp, x.mask, over=float(x.mask.sum())))


@broken("algo", "metrics are declared detached scalars")
class UndeclaredMetric(Reinforce):
    def loss(self, now, x):
        out = super().loss(now, x)
        return dataclasses.replace(out, metrics={"my/metric": out.loss.detach()})


@broken("algo", "it computes the same again")
class Noisy(Reinforce):
    def advantages(self, x, state):
        import torch

        return Advantage(advantage=torch.rand_like(x.logp_old) * x.mask), state


@broken("algo", "the state survives a checkpoint")
class StateInTheComponent(Reinforce):
    def __post_init__(self):
        object.__setattr__(self, "steps", 0)

    def advantages(self, x, state):
        object.__setattr__(self, "steps", self.steps + 1)
        return Advantage(advantage=self.steps * x.score[..., None] * x.mask), state


@broken("algo", "the state survives a checkpoint")
class StateAsObject(Reinforce):
    def advantages(self, x, state):
        return Advantage(advantage=x.score[..., None] * x.mask), Path("state")


@broken("algo", "the inputs are not modified")
class InPlace(Reinforce):
    def advantages(self, x, state):
        x.score.sub_(x.score.mean())
        return Advantage(advantage=x.score[..., None] * x.mask), state


@broken("algo", "the smallest group is enough")
class LeaveOneOutOfOne(Reinforce):
    def advantages(self, x, state):
        size = x.score.shape[1]
        others = (x.score.sum(1, keepdim=True) - x.score) / (size - 1)
        return Advantage(advantage=((x.score - others)[..., None]).expand(x.mask.shape).where(x.mask, 0.0)), state
