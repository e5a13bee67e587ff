"""Every process holds all weights; gradients are summed, so each takes the step that one process would take.

Why not FSDP2: what must be spread over processes is spread by DeepSpeed; a second way to spread it would need a second
way to gather, to save and to sample, for no run that could not be made without it.

In bfloat16 an update is often too small to move a weight: float32 copies of the weights learn, from gradients that are
added up in float32, and the model gets their rounded values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from align_lab.base.hyperparameters import Train
from align_lab.base.world import World
from align_lab.train.engines.engine import Engine, State, learning, matched, optimizer


class TorchEngine(Engine):
    """Plain PyTorch."""

    def __init__(self, model: nn.Module, *, name: str, plan: Train, lr: float) -> None:
        super().__init__(model, name=name, plan=plan, lr=lr)
        self.parameters = [p for _, p in learning(model)]
        self.masters = [master(p) for p in self.parameters]  # the parameters themselves, but for bfloat16
        self.optimizer = optimizer(self.masters, plan, lr)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.model(*inputs, **options)

    def zero_grad(self, *, learning: bool) -> None:
        for parameter in self.masters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.zero_()

    def reduce(self, world: World) -> None:
        world.add_up(p.grad for p in self.masters if p.grad is not None)
        self.check(float(nn.utils.clip_grad_norm_(self.masters, self.plan.max_grad_norm)))

    def step(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * factor
        self.optimizer.step()
        self._show()

    @torch.no_grad()
    def _show(self) -> None:
        """The model gets what the masters have learned."""
        for parameter, own in zip(self.parameters, self.masters, strict=True):
            if own is not parameter:
                parameter.copy_(own)

    def state_dict(self) -> State:
        names = [name for name, _ in learning(self.model)]
        weights = {name: own.detach() for name, own in zip(names, self.masters, strict=True)}
        return {"model": weights, "optimizer": self.optimizer.state_dict()}

    @torch.no_grad()
    def load_state_dict(self, state: State) -> None:
        for own, (_, value) in zip(self.masters, matched(self.model, state["model"]), strict=True):
            own.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self._show()


def master(parameter: nn.Parameter) -> nn.Parameter:
    """What learns: the parameter; of a bfloat16 one a float32 copy, which its gradients are added to as they come."""
    if parameter.dtype != torch.bfloat16:
        return parameter
    own = nn.Parameter(parameter.detach().float())

    def collect(done: Tensor) -> None:
        assert done.grad is not None
        own.grad = done.grad.float() if own.grad is None else own.grad.add_(done.grad)
        done.grad = None

    parameter.register_post_accumulate_grad_hook(collect)
    return own
