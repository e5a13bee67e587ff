"""Means and variances: of the counted tokens of a batch, and running over all steps of a training run."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from align_lab.equations.masks import masked, masked_mean

Moments = dict[str, Tensor]  # count, mean, and m2, the sum of squared deviations from the mean


def whiten(x: Tensor, mask: Tensor, *, correction: int, floor: float = 0.0, eps: float = 0.0) -> Tensor:
    """(x - mean) / √(max(var, floor) + eps) over all counted tokens, 0 elsewhere: [... T] -> [... T].

    Every token weighs the same, so long sequences weigh more. `correction` 1 divides the variance by n-1, 0 by n.
    Implementations differ: TRL and verl use correction 1 and eps 1e-8, OpenRLHF correction 0 and floor 1e-8, MOSS-RLHF
    correction 0 and eps 1e-6.

    Exactly 0 where all are equal: the remainders of rounding, divided by √floor or √eps, would be steps of full size
    for an optimizer that divides by their root mean square.
    """
    n = int(mask.sum())
    centered = masked(x - masked_mean(x, mask, over=max(n, 1)), mask)
    variance = centered.square().sum() / max(n - correction, 1)
    differ = x.masked_fill(~mask, -inf).amax() > x.masked_fill(~mask, inf).amin()
    return torch.where(differ, centered / (variance.clamp(min=floor) + eps).sqrt(), torch.zeros_like(centered))


def initial_moments() -> Moments:
    """The moments of an empty sample: all zero."""
    return {name: torch.tensor(0.0, dtype=torch.float64) for name in ("count", "mean", "m2")}


def update_moments(moments: Moments, x: Tensor) -> Moments:
    """Combine the moments of earlier values with those of x (Chan, Golub, LeVeque 1979).

    n = n_a + n_b;  δ = mean_b - mean_a;  mean = mean_a + δ n_b/n;  m2 = m2_a + m2_b + δ² n_a n_b/n
    """
    x = x.to(moments["mean"])
    n = moments["count"] + x.numel()
    delta = x.mean() - moments["mean"]
    m2_x = (x - x.mean()).square().sum()
    return {
        "count": n,
        "mean": moments["mean"] + delta * x.numel() / n,
        "m2": moments["m2"] + m2_x + delta.square() * moments["count"] * x.numel() / n,
    }


def running_std(moments: Moments) -> Tensor:
    """√(m2 / (n-1)), the unbiased standard deviation; 1 where the variance is 0, so that dividing by it is safe."""
    variance = moments["m2"] / (moments["count"] - 1).clamp(min=1)
    return torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
