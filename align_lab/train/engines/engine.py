"""The interface of engines, and the optimizer and checkpoint format that they share.

The state of a model does not depend on the engine: all trained parameters by name, and the optimizer state as in
torch.optim. Of several processes each has a slice of every tensor (`train/shards.py`), of which any number of processes
can read theirs. So a run can continue with another engine or world size.
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
from align_lab.train.engines.resting import Resting
from align_lab.train.shards import Parts, whole

State = dict[str, Any]  # {"model": name -> weight, "optimizer": torch.optim's state_dict}, of tensors or slices


class Engine(ABC):
    """The training of one model. Methods marked as collective are called by all processes together."""

    sharded: bool = False  # a forward pass is a collective operation: no process has all weights
    waits: bool = False  # so is a backward pass: a process in which it fails can agree on nothing with the others
    norm: float | None = None  # norm of the latest gradient before clipping; None before the first

    def __init__(self, model: nn.Module, *, name: str, plan: Train, lr: float) -> None:
        self.model, self.name, self.plan, self.lr = model, name, plan, lr
        self.resting = Resting()

    @abstractmethod
    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The outputs of the model, with gradient. Collective."""

    @abstractmethod
    def zero_grad(self, *, learning: bool) -> None:
        """Start an update, before its micro-batches; without `learning` the model is not updated this time."""

    def backward(self) -> None:  # noqa: B027  most engines have nothing to do
        """Backpropagate through this engine's outputs, after the backward pass of a loss. Collective."""

    def summed_while_complete(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """The weights whose gradients the learner sums over processes, each with the tensor that accumulates them.

        None where the engine sums them in its own way.
        """
        return []

    @abstractmethod
    def reduce(self) -> None:
        """Sum gradients that the learner does not, and clip all. Raises DivergedError before any weight changes.

        Collective.
        """

    @abstractmethod
    def step(self, factor: float) -> None:
        """Update the weights with `factor` times the learning rate. Collective."""

    def full_model(self) -> AbstractContextManager[nn.Module]:
        """The model with all weights gathered in this process. Collective."""
        return nullcontext(self.model)

    @abstractmethod
    def of_updates(self) -> tuple[list[Tensor], list[Tensor]]:
        """The tensors that only an update needs: those whose values must be kept, and the gradients, which need not."""

    def release(self) -> None:
        """Move what only an update needs to main memory, and drop the gradients."""
        self.resting.release(*self.of_updates())

    @abstractmethod
    def state_dict(self) -> State:
        """This process's part of the state. Collective."""

    @abstractmethod
    def load_state_dict(self, state: State) -> None:
        """Load a state of whole tensors, or of tensors in parts, which every process passes in full. Collective."""

    def check(self, norm: float) -> None:
        """Record the norm of the gradient. Raises DivergedError if it is not finite."""
        self.norm = norm
        if not math.isfinite(norm):
            raise DivergedError(
                f"the gradient of the {self.name} is not finite. The last good checkpoint is kept. Try a lower "
                "train.lr, a larger algo.kl_coef, or a smaller train.max_grad_norm"
            )


MakeEngine = Callable[..., Engine]  # (model, *, name, plan, lr) -> its engine


def adamw(model: nn.Module, plan: Train, lr: float) -> torch.optim.Optimizer:
    """AdamW on the trained parameters of a model."""
    return optimizer([p for _, p in learning(model)], plan, lr)


def optimizer(parameters: list[nn.Parameter], plan: Train, lr: float) -> torch.optim.Optimizer:
    """AdamW on these parameters, with weight decay on matrices only."""
    matrices, vectors = [p for p in parameters if len(shape(p)) >= 2], [p for p in parameters if len(shape(p)) < 2]
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=lr, betas=(plan.beta1, plan.beta2), eps=plan.adam_eps, fused=True
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def learning(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The trained parameters with their names, each parameter once."""
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


def matched(model: nn.Module, state: Mapping[str, Tensor | Parts]) -> Iterator[tuple[nn.Parameter, Tensor | Parts]]:
    """Each trained parameter with its value in a state. Raises DataError if names or shapes differ."""
    own = dict(learning(model))
    if wrong := sorted(own.keys() ^ state.keys()) or [n for n, p in own.items() if shape(p) != state[n].shape]:
        raise DataError(
            f"the checkpoint is of another model: {wrong[0]} does not fit ({len(wrong)} such weights). "
            "Continue with the config that wrote it, or choose another study=..."
        )
    return ((p, state[name]) for name, p in own.items())


@torch.no_grad()
def load_weights(model: nn.Module, state: Mapping[str, Tensor | Parts]) -> None:
    """Copy weights into a model that is not sharded."""
    for parameter, value in matched(model, state):
        parameter.copy_(whole(value))


def shape(parameter: nn.Parameter) -> torch.Size:
    """The shape of the full parameter, also if it is sharded."""
    return getattr(parameter, "ds_shape", parameter.shape)
