"""Means and variances: over the counted tokens of a batch, and running over a training."""

from __future__ import annotations

import torch
from torch import Tensor

from align_lab.equations.masks import masked, masked_mean

Moments = dict[str, Tensor]  # count, mean, and m2, the sum of squared deviations from the mean


def whiten(x: Tensor, mask: Tensor, *, correction: int, floor: float = 0.0, eps: float = 0.0) -> Tensor:
    """(x - mean) / √(max(var, floor) + eps) over all counted tokens, 0 elsewhere; long sequences weigh more. [... T]

    `correction` 1 divides the variance by n-1, 0 by n. Code bases differ: TRL and verl take correction 1 and eps 1e-8,
    OpenRLHF correction 0 and floor 1e-8, MOSS-RLHF correction 0 and eps 1e-6.
    """
    n = int(mask.sum())
    centred = masked(x - masked_mean(x, mask, over=max(n, 1)), mask)
    variance = centred.square().sum() / max(n - correction, 1)
    return centred / (variance.clamp(min=floor) + eps).sqrt()


def no_moments() -> Moments:
    """The moments of nothing yet."""
    return {name: torch.tensor(0.0, dtype=torch.float64) for name in ("count", "mean", "m2")}


def add_moments(seen: Moments, x: Tensor) -> Moments:
    """The moments of all numbers seen, those of x included (Chan, Golub, LeVeque 1979).

    n = n_a + n_b;  δ = mean_b - mean_a;  mean = mean_a + δ n_b/n;  m2 = m2_a + m2_b + δ² n_a n_b/n
    """
    x = x.to(seen["mean"])
    n = seen["count"] + x.numel()
    gap = x.mean() - seen["mean"]
    within = (x - x.mean()).square().sum()
    return {
        "count": n,
        "mean": seen["mean"] + gap * x.numel() / n,
        "m2": seen["m2"] + within + gap.square() * seen["count"] * x.numel() / n,
    }


def running_std(seen: Moments) -> Tensor:
    """√(m2 / (n-1)); 1 while fewer than two different numbers were seen, so that dividing by it is harmless."""
    variance = seen["m2"] / (seen["count"] - 1).clamp(min=1)
    return torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
