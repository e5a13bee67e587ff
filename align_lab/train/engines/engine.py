"""What a learner asks of an engine, and the optimiser and the state that all engines share.

A state is one and the same whichever engine wrote it and however many processes did: every weight that learns, whole, by
its name, and the optimiser's state as torch.optim writes it. So a run goes on under another engine, with another number
of processes, or is exported.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from align_lab.base.errors import DataError, DivergedError
from align_lab.base.hyperparameters import Train
from align_lab.base.world import World

State = dict[str, Any]  # {"model": name -> weight, "optimizer": torch.optim's state_dict}


class Engine(ABC):
    """One model that learns. Methods that say so are called by all processes together."""

    norm: float | None = None  # of the newest gradient, before clipping; None where none was computed

    def __init__(self, model: nn.Module, *, name: str, plan: Train, lr: float) -> None:
        self.model, self.name, self.plan, self.lr = model, name, plan, lr

    @abstractmethod
    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """What the model answers, with gradient. All processes together."""

    @abstractmethod
    def zero_grad(self, *, learning: bool) -> None:
        """Before the micro-batches of an update; not `learning`: the model stays as it is this time."""

    def backward(self) -> None:  # noqa: B027  most have nothing to do
        """After the backward pass of a loss: add the gradients of this engine's answers. All processes together."""

    @abstractmethod
    def reduce(self, world: World) -> None:
        """After the last micro-batch: the sum over processes, clipped. Raises DivergedError, before any weight is touched."""

    @abstractmethod
    def step(self, factor: float) -> None:
        """Update the weights at `factor` times the learning rate. All processes together."""

    def full_model(self) -> AbstractContextManager[nn.Module]:
        """The model with every weight at hand. All processes enter together."""
        return nullcontext(self.model)

    @abstractmethod
    def state_dict(self) -> State:
        """All processes call it together; the first gets the state."""

    @abstractmethod
    def load_state_dict(self, state: State) -> None:
        """Take over a state. All processes call it together, each with the whole of it."""

    def check(self, norm: float) -> None:
        self.norm = norm
        if not math.isfinite(norm):
            raise DivergedError(
                f"the gradient of the {self.name} is not finite. The last good checkpoint is kept. Try a lower "
                "train.lr, a larger algo.kl_coef, or a smaller train.max_grad_norm"
            )


MakeEngine = Callable[..., Engine]  # (model, *, name, plan, lr) -> its engine


def adamw(model: nn.Module, plan: Train, lr: float) -> torch.optim.Optimizer:
    """AdamW over what learns; weight decay acts on matrices only."""
    return optimizer([p for _, p in learning(model)], plan, lr)


def optimizer(parameters: list[nn.Parameter], plan: Train, lr: float) -> torch.optim.Optimizer:
    matrices, vectors = [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=lr, betas=(plan.beta1, plan.beta2), eps=plan.adam_eps, fused=True
    )


def learning(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters that learn, each under one name."""
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


def matched(model: nn.Module, state: Mapping[str, Tensor]) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Each parameter that learns with its value in a state. Raises DataError when they are not the same ones."""
    own = dict(learning(model))
    if wrong := sorted(own.keys() ^ state.keys()) or [n for n, p in own.items() if shape(p) != state[n].shape]:
        raise DataError(
            f"the checkpoint is of another model: {wrong[0]} does not fit ({len(wrong)} such weights). Continue with the config "
            "that wrote it, or choose another study=..."
        )
    return ((p, state[name]) for name, p in own.items())


@torch.no_grad()
def load_weights(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Into a model that lies whole in this process."""
    for parameter, value in matched(model, state):
        parameter.copy_(value)


def shape(parameter: nn.Parameter) -> torch.Size:
    """Of the whole parameter, where this process holds a part of it as well."""
    return getattr(parameter, "ds_shape", parameter.shape)
