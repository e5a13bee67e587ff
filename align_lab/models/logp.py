"""Log-probabilities of given tokens, and their gradient, with one pass through the head and at most one [N V] tensor.

    log p_t = z_t - log Σ exp z,   z = h Wᵀ / τ
    ∂ log p_t / ∂z = 1_t - p,      ∂H/∂z = -p (log p + H),   H = log Σ exp z - Σ p z

The vocabulary is cut into tiles that fit into the cache: a tile of logits is exponentiated while it is there. For the
gradient the exponentials are kept, and turned into it in place; where they would be too large they are computed again.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, overload

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 1 << 21  # logits computed at a time
KEEP = 1 << 28  # most exponentials kept for the gradient


class HasHead(Protocol):
    """Hidden states, and the weights [V D] that turn them into logits."""

    @property
    def head(self) -> Tensor: ...
    def hidden(self, ids: Tensor, pad: Tensor | None = None) -> Tensor: ...


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, entropy: bool, learns: bool
    ) -> Any:
        scaled = hidden / temperature
        keep = learns and any(ctx.needs_input_grad) and len(hidden) * len(weight) <= KEEP
        kept, tops, sums, means = [], [], [], []
        for part in _tiles(weight, len(hidden)):
            z, top = _below_top(scaled, part)
            gaps = z.clone() if entropy else None
            e = z.exp_()
            tops.append(top)
            sums.append(e.sum(-1, keepdim=True))
            if gaps is not None:
                means.append(gaps.mul_(e).sum(-1, keepdim=True))
            if keep:
                kept.append(e)
        tops, sums = torch.cat(tops, -1), torch.cat(sums, -1)
        lse = (tops + sums.log()).logsumexp(-1)
        logp = torch.linalg.vecdot(scaled, weight[targets]) - lse
        shares = (tops - lse[:, None]).exp()  # exponentials of a tile -> probabilities
        entropies = lse - (shares * (torch.cat(means, -1) + tops * sums)).sum(-1) if entropy else lse.new_empty(0)
        ctx.save_for_backward(scaled, weight, targets, lse, entropies)
        ctx.kept, ctx.shares, ctx.temperature = kept, shares, temperature
        ctx.set_materialize_grads(False)
        return logp, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad_logp, grad_entropy = grads
        scaled, weight, targets, lse, entropies = ctx.saved_tensors
        kept, ctx.kept = ctx.kept, []  # used up: a second backward computes them again
        grad_logp = torch.zeros_like(lse) if grad_logp is None else grad_logp
        to_hidden, to_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.index_select(weight, 0, targets).mul_(grad_logp[:, None]) if to_hidden else None
        grad_weight = torch.empty_like(weight) if to_weight else None
        start = 0
        for number, part in enumerate(_tiles(weight, len(scaled))):
            e = kept[number] if kept else _below_top(scaled, part)[0].exp_()
            grad = _grad_logits(e, ctx.shares[:, number, None], grad_logp, grad_entropy, entropies)
            if grad_hidden is not None:
                grad_hidden.addmm_(grad, part)
            if grad_weight is not None:
                torch.mm(grad.t(), scaled, out=grad_weight[start : start + len(part)])
            start += len(part)
        if grad_weight is not None:
            grad_weight.index_add_(0, targets, scaled * grad_logp[:, None])
        return None if grad_hidden is None else grad_hidden.div_(ctx.temperature), grad_weight, None, None, None, None


def _tiles(weight: Tensor, rows: int) -> tuple[Tensor, ...]:
    """Parts of the head [v D] such that [rows v] logits fit into the cache, of nearly equal size."""
    count = max(1, -(-rows * len(weight) // TILE))
    return weight.split(min(len(weight), max(64, -(-len(weight) // count))))


def _below_top(scaled: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [N v] of a tile minus the largest of each row, which is [N 1]."""
    z = scaled @ part.t()
    top = z.amax(-1, keepdim=True)
    return z.sub_(top), top


def _grad_logits(e: Tensor, share: Tensor, grad_logp: Tensor, grad_entropy: Tensor | None, entropies: Tensor) -> Tensor:
    """The gradient of a tile's logits but for the 1_t, in place of its exponentials: -p (g + g_H (log p + H))."""
    if grad_entropy is None:
        return e.mul_(share * -grad_logp[:, None])
    p = e.mul_(share)
    log_p = p.clamp(min=torch.finfo(p.dtype).tiny).log_()
    return log_p.add_(entropies[:, None]).mul_(grad_entropy[:, None]).add_(grad_logp[:, None]).mul_(p).neg_()


@overload
def token_logps(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, temperature: float = ..., entropy: Literal[False] = ...
) -> Tensor: ...
@overload
def token_logps(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, temperature: float = ..., entropy: Literal[True]
) -> tuple[Tensor, Tensor]: ...
def token_logps(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, temperature: float = 1.0, entropy: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """log p of targets [N] under softmax(hidden [N D] · weightᵀ / temperature), [N]; with `entropy`, also H [N]."""
    learns = torch.is_grad_enabled()  # in there it never is, and weights ask for gradients either way
    logp, entropies = _TokenLogps.apply(hidden, weight, targets, temperature, entropy, learns)
    return (logp, entropies) if entropy else logp


@overload
def response_logps(
    model: HasHead,
    ids: Tensor,
    pad: Tensor | None,
    mask: Tensor,
    *,
    temperature: float = ...,
    entropy: Literal[False] = ...,
) -> Tensor: ...
@overload
def response_logps(
    model: HasHead, ids: Tensor, pad: Tensor | None, mask: Tensor, *, temperature: float = ..., entropy: Literal[True]
) -> tuple[Tensor, Tensor]: ...
def response_logps(
    model: HasHead, ids: Tensor, pad: Tensor | None, mask: Tensor, *, temperature: float = 1.0, entropy: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Log-probabilities [B T] of the last T tokens of ids [B S+T], 0 where mask [B T] is False; with `entropy`, also H.

    The head is computed where the mask is True and nowhere else.
    """
    T = mask.shape[1]
    hidden = model.hidden(ids[:, :-1], pad)[:, -T:][mask]  # the state before a token predicts it
    found = (
        token_logps(hidden, model.head, ids[:, -T:][mask], temperature=temperature, entropy=True)
        if entropy
        else (token_logps(hidden, model.head, ids[:, -T:][mask], temperature=temperature),)
    )
    spread = tuple(x.new_zeros(mask.shape).masked_scatter(mask, x) for x in found)
    return (spread[0], spread[1]) if entropy else spread[0]
