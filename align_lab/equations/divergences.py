"""Estimators of KL(π ‖ ref) from samples of π, per token (Schulman, "Approximating KL divergence", 2020).

Inside the *reward*, k1 gives the exact gradient of KL(π ‖ ref). As a *loss*, k2 does; the expected gradient of k1 is 0,
and that of k3 is the gradient of KL(ref ‖ π). tests/equations verifies each by exact enumeration.
"""

from __future__ import annotations

import torch
from torch import Tensor


def k1(logp: Tensor, logp_ref: Tensor) -> Tensor:
    """d = log π - log ref. Unbiased, may be negative."""
    return logp - logp_ref


def k2(logp: Tensor, logp_ref: Tensor) -> Tensor:
    """d²/2. Biased, never negative."""
    return (logp - logp_ref).square() / 2


def k3(logp: Tensor, logp_ref: Tensor) -> Tensor:
    """e⁻ᵈ - 1 + d. Unbiased and never negative."""
    d = logp - logp_ref
    return torch.expm1(-d) + d
