"""The estimators of KL, against exact enumeration over a vocabulary of five tokens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from align_lab import equations as eq

THETA = torch.tensor([0.2, -0.4, 0.7, 0.0, -1.1], dtype=torch.float64)
REF = torch.tensor([0.0, 0.5, -0.3, 1.0, -0.2], dtype=torch.float64).log_softmax(-1)
P = THETA.softmax(-1)
KL = (P * (P.log() - REF)).sum()
REVERSE = P * (P.log() - REF - KL)  # ∂/∂θ KL(π ‖ ref) of a softmax
FORWARD = P - REF.exp()  # ∂/∂θ KL(ref ‖ π)


def expected_gradient(estimator: Callable[[Tensor, Tensor], Tensor], *, as_loss: bool) -> Tensor:
    """Σ_y π(y) ∇k(y), or Σ_y π(y) k(y) ∇ log π(y)."""
    theta = THETA.clone().requires_grad_()
    logp = theta.log_softmax(-1)
    k = estimator(logp, REF)
    return torch.autograd.grad((P * (k if as_loss else k.detach() * logp)).sum(), theta)[0]


@pytest.mark.parametrize("estimator", [eq.k1, eq.k3])
def test_k1_and_k3_are_unbiased(estimator: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Their mean under π is the divergence."""
    torch.testing.assert_close((P * estimator(P.log(), REF)).sum(), KL)


def test_k2_is_half_the_mean_squared_log_ratio_and_biased() -> None:
    """Close to the divergence, and not equal."""
    mean = (P * eq.k2(P.log(), REF)).sum()
    torch.testing.assert_close(mean, sum(p * (p.log() - r) ** 2 / 2 for p, r in zip(P, REF, strict=True)))
    assert abs(mean - KL) > 0.01


def test_k2_and_k3_are_never_negative_and_k1_is() -> None:
    """At every single token."""
    assert (eq.k1(P.log(), REF) < 0).any()
    assert (eq.k2(P.log(), REF) >= 0).all()
    assert (eq.k3(P.log(), REF) >= 0).all()


@pytest.mark.parametrize(
    "estimator, as_loss, expected",
    [(eq.k1, False, REVERSE), (eq.k2, True, REVERSE), (eq.k1, True, 0 * P), (eq.k3, True, FORWARD)],
)
def test_the_expected_gradient_of_an_estimator_depends_on_its_place(
    estimator: Callable[[Tensor, Tensor], Tensor], as_loss: bool, expected: Tensor
) -> None:
    """k1 in the reward and k2 as loss: reverse KL; k1 as loss: none; k3 as loss: forward KL."""
    torch.testing.assert_close(expected_gradient(estimator, as_loss=as_loss), expected)


def test_k3_keeps_its_precision_near_0() -> None:
    """For a log-ratio of 1e-5 in float32 it is d²/2, not rounding."""
    d = torch.tensor([1e-5, -1e-5, 0.0])
    assert eq.k3(d, torch.zeros(3)).ge(0).all()
