"""Data parallelism in plain PyTorch: every process has all weights, and gradients are summed (all-reduce).

In bfloat16 an update is often too small to change a weight. Therefore float32 master weights are trained, with
gradients accumulated in float32, and the model gets their rounded values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from align_lab.base.hyperparameters import Train
from align_lab.base.world import World
from align_lab.train.engines.engine import Engine, State, learning, matched, optimizer, set_rate
from align_lab.train.shards import Parts, Slice, sliced, whole


class TorchEngine(Engine):
    """Data parallelism with float32 master weights where the model is bfloat16."""

    def __init__(self, model: nn.Module, *, name: str, plan: Train, lr: float) -> None:
        super().__init__(model, name=name, plan=plan, lr=lr)
        self.parameters = [p for _, p in learning(model)]
        self.masters = [master(p) for p in self.parameters]  # the parameters themselves, unless they are bfloat16
        self.optimizer = optimizer(self.masters, plan, lr)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The outputs of the model, with gradient."""
        return self.model(*inputs, **options)

    def zero_grad(self, *, learning: bool) -> None:
        """Start an update; without `learning` the model is not updated this time."""
        for parameter in self.masters:
            parameter.grad = torch.empty_like(parameter) if parameter.grad is None else parameter.grad
        all_at_once("_foreach_zero_", [parameter.grad for parameter in self.masters])

    def summed_while_complete(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """All: each weight with its master."""
        return list(zip(self.parameters, self.masters, strict=True))

    def reduce(self) -> None:
        """Clip the norm of the gradients."""
        self.check(float(nn.utils.clip_grad_norm_(self.masters, self.plan.max_grad_norm)))

    def step(self, factor: float) -> None:
        """Update the weights with `factor` times the learning rate."""
        set_rate(self.optimizer, self.lr * factor)
        self.optimizer.step()
        self._copy_to_model()

    @torch.no_grad()
    def _copy_to_model(self) -> None:
        """Round the master weights into the model."""
        pairs = [(p, own) for p, own in zip(self.parameters, self.masters, strict=True) if own is not p]
        if pairs:
            all_at_once("_foreach_copy_", *map(list, zip(*pairs, strict=True)))

    def of_updates(self) -> tuple[list[Tensor], list[Tensor]]:
        """The optimizer state, with the float32 weights of a bfloat16 model."""
        own = [master for weight, master in zip(self.parameters, self.masters, strict=True) if master is not weight]
        for master in self.masters:
            master.grad = None
        return [*own, *self.moments()], []

    def moments(self) -> list[Tensor]:
        """The tensors of the optimizer's state that are as large as weights."""
        return [value for state in self.optimizer.state.values() for value in state.values() if value.ndim]

    def state_dict(self) -> State:
        """The float32 weights and the optimizer state, of several processes a slice each."""
        world, adam = World.current(), self.optimizer.state_dict()
        names = [name for name, _ in learning(self.model)]
        weights = {name: self.part(own.detach(), world) for name, own in zip(names, self.masters, strict=True)}
        moments = {
            number: {key: self.part(value, world) if value.ndim else value for key, value in state.items()}
            for number, state in adam["state"].items()
        }
        return {"model": weights, "optimizer": {**adam, "state": moments}}

    def part(self, tensor: Tensor, world: World) -> Tensor | Slice:
        """What this process saves of a weight or a moment."""
        return sliced(tensor, world)

    @torch.no_grad()
    def load_state_dict(self, state: State) -> None:
        """Load a state, written by any engine."""
        for own, (_, value) in zip(self.masters, matched(self.model, state["model"]), strict=True):
            own.copy_(self.restored(value, own))
        masters = [own for group in self.optimizer.param_groups for own in group["params"]]
        moments = {
            number: {
                key: self.restored(value, masters[number]) if len(value.shape) else value
                for key, value in of_one.items()
            }
            for number, of_one in state["optimizer"]["state"].items()
        }
        self.optimizer.load_state_dict({**state["optimizer"], "state": moments})
        self._copy_to_model()

    def restored(self, value: Tensor | Parts, like: Tensor) -> Tensor:
        """What this process has of a saved weight or moment: of the shape of `like`, a master weight."""
        return whole(value)


def all_at_once(operator: str, *lists: list[Any]) -> None:
    """An operator of torch for whole lists of tensors, which a GPU computes in one launch. It has no public name."""
    getattr(torch, operator)(*lists)


def master(parameter: nn.Parameter) -> nn.Parameter:
    """The trained tensor: the parameter itself, or for bfloat16 a float32 copy that accumulates its gradients."""
    if parameter.dtype != torch.bfloat16:
        return parameter
    own = nn.Parameter(parameter.detach().float())

    def collect(done: Tensor) -> None:
        assert done.grad is not None
        own.grad = done.grad.float() if own.grad is None else own.grad.add_(done.grad)
        done.grad = None

    parameter.register_post_accumulate_grad_hook(collect)
    return own
