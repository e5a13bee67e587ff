"""Muon: momentum whose singular values are all brought near 1, computed in the precision of the weights.

    M ← β M + (1 - β) g,   U = (1 - β) g + β M                              Nesterov momentum
    X ← U / ‖U‖,   five times X ← a X + (b A + c A²) X with A = X Xᵀ        Newton-Schulz iteration
    w ← w - η (λ w + √max(1, rows / columns) X)                             decoupled weight decay

Source: Jordan et al., kellerjordan.github.io/posts/muon, also for a, b and c; weight decay: arXiv 2502.16982.
torch.optim.Muon has the same formulas, but iterates in bfloat16 whatever the weights are: a processor that has no
instructions for bfloat16 emulates them, and a step then takes 15 times as long as in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # a, b, c


class Muon(torch.optim.Optimizer):
    """Muon for matrices. A parameter without a gradient is an error: here every matrix takes part in every step."""

    def __init__(
        self, params: Iterable[dict[str, Any]], *, lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every matrix by the gradient that it has."""
        for group in self.param_groups:
            for weight in group["params"]:
                rows, columns = weight.shape
                direction = orthogonalize(self._momentum(weight, group["momentum"]))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction, alpha=-group["lr"] * math.sqrt(max(1.0, rows / columns)))

    def _momentum(self, weight: Tensor, beta: float) -> Tensor:
        """The Nesterov momentum U of a matrix, after its mean M has taken in the gradient."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        mean = state["mean"].lerp_(weight.grad, 1 - beta)
        return weight.grad.lerp(mean, beta)


def orthogonalize(
    matrix: Tensor, *, coefficients: tuple[float, float, float] = COEFFICIENTS, rounds: int = 5
) -> Tensor:
    """A matrix [R C] with the same singular vectors and with singular values near 1, by the Newton-Schulz iteration."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.t() if tall else matrix  # A is then the smaller of the two products
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(rounds):
        gram = x @ x.t()
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.t() if tall else x
