"""Quantities of a loss that can be read from outside, for any trainer: nothing of its formula is typed again.

A loss is a function of the advantage, the old and the reference's log-probabilities, at the policy's current ones. Its
gradient with respect to the current log-probabilities is linear in the advantage where no clip is active, so that a
few calls tell weight, ratio, clip and KL term apart. Rows are sequences [N], columns tokens [T].
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, ones_like, where, zeros_like

Loss = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]  # advantage, old, reference -> loss, gradient
Quantities = dict[str, Tensor]

ZERO = 1e-12


def of_rollout(
    loss: Loss, *, advantage: Tensor, logp: Tensor, old: Tensor, reference: Tensor | None, mask: Tensor
) -> Quantities:
    """The quantities in the order in which they are compared; each is taken by itself, independent of those before.

    `ratio`: what the gradient of a token is multiplied by, relative to a policy that has not changed;
    `clip`: whether the gradient vanishes at an advantage of +1, and at -1; `denominator`: the weight of each token;
    `kl`: the gradient at an advantage of 0 over that weight.
    """
    one = mask.to(logp)
    weight = -_slope(loss, one, logp, reference)
    up, down = (_slope(loss, sign * one, old, reference) for sign in (1, -1))
    where_counted = weight.abs() > ZERO
    ratio = where(where_counted, where(up.abs() > down.abs(), up.abs(), down.abs()) / weight.abs(), zeros_like(up))
    clipped = [where_counted & (gradient.abs() < ZERO) for gradient in (up, down)]
    at_zero = loss(zeros_like(one), old, reference)[1]
    value, gradient = loss(advantage, old, reference)
    return {
        "mask": one,
        "advantage": advantage * one,
        "ratio": ratio,
        "clip": one.new_tensor([x.to(one).tolist() for x in clipped]),
        "denominator": weight,
        "kl": where(where_counted, at_zero / where(where_counted, weight, ones_like(weight)), zeros_like(weight)),
        "loss": value,
        "gradient": gradient,
    }


def _slope(loss: Loss, advantage: Tensor, old: Tensor, reference: Tensor | None) -> Tensor:
    """The gradient that is due to the advantage."""
    return loss(advantage, old, reference)[1] - loss(zeros_like(advantage), old, reference)[1]


def of_pairs(loss: Loss, *, logp: Tensor, reference: Tensor | None, mask: Tensor) -> Quantities:
    """`denominator`: the gradient where policy and reference are equal, if there is a reference; `offset`: the loss."""
    nothing = zeros_like(logp)
    value, gradient = loss(nothing, nothing, reference)
    result = {"mask": mask.to(logp)}
    if reference is not None:
        offset, weight = loss(nothing, nothing, logp)
        result |= {"denominator": weight, "offset": offset}
    return result | {"loss": value, "gradient": gradient}
