"""Log-probabilities of given tokens and their gradient, with one pass through the head and at most one [N V] tensor.

    log p_t = z_t - log Σ exp z,   z = h Wᵀ / τ
    ∂ log p_t / ∂z = 1_t - p,      ∂H/∂z = -p (log p + H),   H = log Σ exp z - Σ p z

The vocabulary is split into tiles. On a processor their logits fit into its cache and are exponentiated there. The
exponentials are saved for the backward pass, which overwrites them with the gradient; above a size limit they are
recomputed instead.

Of a narrow h and W (bfloat16), logits, log-probabilities and the sums over tiles are float32: the gradient of the
logits is rounded before its products with them, as in every backward pass in bfloat16, and then summed in float32.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, overload

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from align_lab.models.packing import Packing
from align_lab.models.precision import NARROW, product, wide

TILE = {"cpu": 1 << 21, "cuda": 1 << 27}  # logits of one tile: a processor's cache, and what keeps a GPU busy
MAX_SAVED = 1 << 28  # largest number of exponentials saved for the backward pass


class HasHead(Protocol):
    """A model that computes hidden states, and the output weights that map them to logits."""

    @property
    def head(self) -> Tensor:
        """Output weights [V D]."""
        ...

    def hidden(self, ids: Tensor, pad: Tensor | None = None) -> Tensor:
        """ids [B L] -> hidden states [B L D]."""
        ...

    def packs(self) -> bool:
        """Are rows computed without their padding?"""
        ...

    def packed(self, ids: Tensor, packing: Packing) -> Tensor:
        """ids [B S+T] -> hidden states [N D] of the tokens that have to be read."""
        ...


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, entropy: bool, grad: bool
    ) -> Any:
        scaled, divisor = (hidden, temperature) if hidden.dtype in NARROW else (hidden / temperature, 1.0)
        save = grad and any(ctx.needs_input_grad) and len(hidden) * len(weight) <= MAX_SAVED
        saved, maxima, sums, means = [], [], [], []
        for tile in _tiles(weight, len(hidden)):
            z, maximum = _minus_maximum(scaled, tile, divisor)
            shifted = z.clone() if entropy else None
            e = z.exp_()
            maxima.append(maximum)
            sums.append(e.sum(-1, keepdim=True))
            if shifted is not None:
                means.append(shifted.mul_(e).sum(-1, keepdim=True))
            if save:
                saved.append(e)
        maxima, sums = torch.cat(maxima, -1), torch.cat(sums, -1)
        lse = (maxima + sums.log()).logsumexp(-1)
        logp = torch.linalg.vecdot(wide(scaled), wide(weight[targets])) / divisor - lse
        scales = (maxima - lse[:, None]).exp()  # the exponentials of a tile times its scale are probabilities
        entropies = lse - (scales * (torch.cat(means, -1) + maxima * sums)).sum(-1) if entropy else lse.new_empty(0)
        ctx.save_for_backward(scaled, weight, targets, lse, entropies)
        ctx.saved, ctx.scales, ctx.temperature, ctx.divisor = saved, scales, temperature, divisor
        ctx.set_materialize_grads(False)
        return logp, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad_logp, grad_entropy = grads
        scaled, weight, targets, lse, entropies = ctx.saved_tensors
        saved, ctx.saved = ctx.saved, []  # they are overwritten below, so a second backward recomputes them
        grad_logp = torch.zeros_like(lse) if grad_logp is None else grad_logp
        to_hidden, to_weight = ctx.needs_input_grad[:2]
        grad_hidden = wide(torch.index_select(weight, 0, targets)).mul_(grad_logp[:, None]) if to_hidden else None
        grad_weight = torch.empty_like(weight, dtype=lse.dtype) if to_weight else None
        start = 0
        for number, tile in enumerate(_tiles(weight, len(scaled))):
            e = saved[number] if saved else _minus_maximum(scaled, tile, ctx.divisor)[0].exp_()
            grad = _grad_logits(e, ctx.scales[:, number, None], grad_logp, grad_entropy, entropies)
            if grad_hidden is not None:
                _add_product(grad_hidden, grad, tile)
            if grad_weight is not None:
                _put_product(grad_weight[start : start + len(tile)], grad.t(), scaled)
            start += len(tile)
        if grad_hidden is not None:
            grad_hidden = grad_hidden.div_(ctx.temperature).to(scaled.dtype)
        if grad_weight is not None:
            grad_weight = grad_weight.index_add_(0, targets, scaled * grad_logp[:, None])
            grad_weight = grad_weight if ctx.divisor == 1 else grad_weight.div_(ctx.divisor)
            grad_weight = grad_weight.to(weight.dtype)
        return grad_hidden, grad_weight, None, None, None, None


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a · b, where a is rounded if b is narrow."""
    if b.dtype in NARROW:
        total.add_(product(a.to(b.dtype), b))
    else:
        total.addmm_(a, b)


def _put_product(out: Tensor, a: Tensor, b: Tensor) -> None:
    """out = a · b, where a is rounded if b is narrow."""
    if b.dtype in NARROW:
        out.copy_(product(a.to(b.dtype), b))
    else:
        torch.mm(a, b, out=out)


def _tiles(weight: Tensor, rows: int) -> tuple[Tensor, ...]:
    """Tiles [v D] of the head of nearly equal size, such that a tile of [rows v] logits suits the device."""
    count = max(1, -(-rows * len(weight) // TILE["cuda" if weight.is_cuda else "cpu"]))
    return weight.split(min(len(weight), max(64, -(-len(weight) // count))))


def _minus_maximum(scaled: Tensor, tile: Tensor, divisor: float) -> tuple[Tensor, Tensor]:
    """The logits [N v] of a tile minus the maximum of each row, and that maximum [N 1]."""
    z = product(scaled, tile.t())
    if divisor != 1:
        z.div_(divisor)
    maximum = z.amax(-1, keepdim=True)
    return z.sub_(maximum), maximum


def _grad_logits(e: Tensor, scale: Tensor, grad_logp: Tensor, grad_entropy: Tensor | None, entropies: Tensor) -> Tensor:
    """The gradient of a tile's logits without the 1_t term, written over e: -p (g + g_H (log p + H))."""
    if grad_entropy is None:
        return e.mul_(scale * -grad_logp[:, None])
    p = e.mul_(scale)
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
    grad = torch.is_grad_enabled()  # always False inside `forward`, and needs_input_grad does not reflect it
    logp, entropies = _TokenLogps.apply(hidden, weight, targets, temperature, entropy, grad)
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

    The head is applied only where the mask is True.
    """
    if model.packs():
        packing = Packing.of(pad, mask, ids.shape[1] - mask.shape[1])
        hidden = model.packed(ids, packing)[packing.last]
        targets = ids[:, -mask.shape[1] :].flatten()[packing.predicted]
    else:
        packing = None
        hidden = model.hidden(ids[:, :-1], pad)[:, -mask.shape[1] :][mask]  # the state before a token predicts it
        targets = ids[:, -mask.shape[1] :][mask]
    per_token = (
        token_logps(hidden, model.head, targets, temperature=temperature, entropy=True)
        if entropy
        else (token_logps(hidden, model.head, targets, temperature=temperature),)
    )
    scattered = tuple(_at_counted(x, mask, packing) for x in per_token)
    return (scattered[0], scattered[1]) if entropy else scattered[0]


def _at_counted(values: Tensor, mask: Tensor, packing: Packing | None) -> Tensor:
    """The values of tokens [M] in their places [B T], 0 elsewhere. Packed ones may include tokens that do not count."""
    empty = values.new_zeros(mask.shape)
    if packing is None:
        return empty.masked_scatter(mask, values)
    return empty.flatten().index_copy(0, packing.predicted, values).view(mask.shape).where(mask, empty)
