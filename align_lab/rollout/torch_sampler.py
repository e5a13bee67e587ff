"""Sampling in plain torch with a KV cache, by inverse transform sampling with one uniform number per token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from align_lab.models import kv_cache
from align_lab.models.language_model import Cache, LanguageModel
from align_lab.models.precision import product, running_sum, wide
from align_lab.models.row_batches import RowBatches
from align_lab.rollout.prefill import Prefilled, Prompted, prefill
from align_lab.rollout.replay import Replay
from align_lab.rollout.sampler import Sampler, Samples, Weights

CHECK_EVERY = 16  # tokens between two looks at a GPU for rows that have ended: each look waits for all that it does
COMPACT_BELOW = 0.75  # finished rows are removed, which copies the cache, once at most this fraction is unfinished
COMPACT_ON_GPU = 0.5  # there, each removal records the kernels of a column anew


class TorchSampler(Sampler):
    """Samples from the model that is trained, in this process."""

    name = "torch"
    exact = True

    def __init__(self) -> None:
        self.batches = RowBatches(what="sampling")

    def __call__(
        self,
        weights: Weights,
        prompts: Tensor,
        pad: Tensor | None,
        *,
        uniforms: Tensor,
        temperature: float = 1.0,
        top_p: float = 1.0,
        eos: int | None = None,
    ) -> Samples:
        """Sample completions with the current weights, of fewer rows at a time where memory runs out."""
        prompted = Prompted.of(prompts, pad, len(uniforms))
        with weights.full_model() as model:

            def of_rows(rows: slice) -> tuple[Tensor, ...]:
                own, numbers = prompted.take(rows), uniforms[rows]
                some = complete(model, own, uniforms=numbers, temperature=temperature, top_p=top_p, eos=eos)
                return some.tokens, some.mask, some.logp, some.ended

            tokens, mask, logp, ended = self.batches(of_rows, len(uniforms))
        return Samples(tokens=tokens, mask=mask, logp=logp, ended=ended)

    def release_device(self) -> None:
        """Nothing is kept between calls."""

    def close(self) -> None:
        """Nothing is kept between calls."""


def sample(
    model: LanguageModel,
    prompts: Tensor,
    pad: Tensor | None,
    *,
    uniforms: Tensor,
    temperature: float = 1.0,
    top_p: float = 1.0,
    eos: int | None = None,
) -> Samples:
    """Complete prompts [P S], left-padded by pad [P] columns, with uniforms [B T], each B / P times: see `complete`."""
    prompted = Prompted.of(prompts, pad, len(uniforms))
    return complete(model, prompted, uniforms=uniforms, temperature=temperature, top_p=top_p, eos=eos)


def complete(
    model: LanguageModel,
    prompted: Prompted,
    *,
    uniforms: Tensor,
    temperature: float = 1.0,
    top_p: float = 1.0,
    eos: int | None = None,
) -> Samples:
    """Complete prompts with uniforms [B T] -> at most T tokens per row.

    `temperature` 0 is greedy decoding, with log-probabilities at temperature 1. `top_p` samples from the smallest set
    of most likely tokens that reaches this mass (arXiv 1904.09751). A row ends after `eos`.
    """
    end = -1 if eos is None else eos
    with torch.inference_mode():
        start = prefill(model, prompted, uniforms.shape[1])
        outputs = _decode(model, start, uniforms, temperature, top_p, end)
    tokens, mask, logp = (x.clone() for x in outputs)  # autograd cannot save inference tensors
    ended = (mask & (tokens == end)).any(-1)
    return Samples(tokens=tokens, mask=mask, logp=logp, ended=ended)


def _decode(
    model: LanguageModel, start: Prefilled, uniforms: Tensor, temperature: float, top_p: float, end: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, mask and log-probabilities [B T] of the rows' completions."""
    batch = Decoding.of(model, start, uniforms, end)
    every, below = (CHECK_EVERY, COMPACT_ON_GPU) if batch.tokens.is_cuda else (1, COMPACT_BELOW)
    batch.draw(model.head, temperature=temperature, top_p=top_p)
    column = batch.column(model, temperature=temperature, top_p=top_p)
    for drawn in range(1, uniforms.shape[1]):
        if drawn % every == 0:
            unfinished = int(batch.alive.sum())
            if not unfinished:
                break
            if unfinished <= below * len(batch.rows):
                batch.keep_unfinished()
                column = batch.column(model, temperature=temperature, top_p=top_p)
        column()
    return batch.tokens, batch.mask, batch.logp


@dataclass(kw_only=True)
class Decoding:
    """A batch whose completions grow by a column at a time. On a GPU all of it is in tensors that are overwritten, so
    that a column is the same kernels with the same arguments as the one before."""

    cache: Cache
    hidden: Tensor  # [b D], which predict the next tokens
    newest: Tensor  # [b], the newest tokens, which are not in the cache yet
    pad: Tensor | None  # [b]
    rows: Tensor  # [b], the rows of the batch that are still computed
    alive: Tensor  # [b], those of them that have no end token yet
    at: int | Tensor  # the column that is drawn next; on a GPU [1], a number on the device
    end: int
    uniforms: Tensor  # [B T]
    tokens: Tensor  # [B T]
    mask: Tensor  # [B T]
    logp: Tensor  # [B T]

    @classmethod
    def of(cls, model: LanguageModel, start: Prefilled, uniforms: Tensor, end: int) -> Decoding:
        """Before the first token."""
        hidden, device = start.hidden, start.hidden.device
        fixed = kv_cache.shapes_are_fixed(hidden)
        rows = torch.arange(len(uniforms), device=device)
        logp = wide(hidden.new_zeros(uniforms.shape))
        return cls(
            cache=model.fixed(start.cache, start.room) if fixed else start.cache,
            hidden=hidden,
            newest=torch.zeros_like(rows),
            pad=start.pad,
            rows=rows,
            alive=torch.ones_like(rows, dtype=torch.bool),
            at=torch.zeros(1, dtype=torch.long, device=device) if fixed else 0,
            end=end,
            uniforms=uniforms.to(logp),
            tokens=torch.full(uniforms.shape, end, dtype=torch.long, device=device),
            mask=torch.zeros(uniforms.shape, dtype=torch.bool, device=device),
            logp=logp,
        )

    def draw(self, head: Tensor, *, temperature: float, top_p: float) -> None:
        """Draw the next token of every row."""
        logits, uniform = product(self.hidden, head.t()), self.uniforms[self.rows, self.at]
        token, logp = draw_token(logits, uniform, temperature=temperature, top_p=top_p)
        token = token.where(self.alive, self.end)
        self.newest.copy_(token)
        self.tokens[self.rows, self.at] = token
        self.logp[self.rows, self.at] = logp.where(self.alive, 0)
        self.mask[self.rows, self.at] = self.alive
        self.alive &= token != self.end
        self.at += 1

    def column(self, model: LanguageModel, *, temperature: float, top_p: float) -> Replay:
        """What reads the newest token of every row and draws the next one."""

        def read_and_draw() -> None:
            self.hidden.copy_(model.step(self.newest[:, None], self.cache, self.pad))
            self.draw(model.head, temperature=temperature, top_p=top_p)

        return Replay(read_and_draw, self.tokens.device, repetitions=self.tokens.shape[1])

    def keep_unfinished(self) -> None:
        """Compute the unfinished rows alone from now on."""
        alive = self.alive
        self.cache.keep(alive)
        self.rows, self.hidden, self.newest = self.rows[alive], self.hidden[alive], self.newest[alive]
        self.alive = alive[alive]
        self.pad = None if self.pad is None else self.pad[alive]


def draw_token(logits: Tensor, uniform: Tensor, *, temperature: float, top_p: float) -> tuple[Tensor, Tensor]:
    """logits [B V], which are overwritten, and uniform [B] -> the sampled token [B] and its log-probability [B]."""
    if temperature == 0:
        best = logits.max(-1)
        return best.indices, best.values - logits.logsumexp(-1)
    z = logits if temperature == 1 else logits.div_(temperature)
    weight = z.sub_(z.amax(-1, keepdim=True)).exp_()
    token = inverse_cdf(weight if top_p >= 1 else nucleus(weight, top_p), uniform)
    return token, (weight.gather(-1, token[:, None]).squeeze(-1) / weight.sum(-1)).log_()


def nucleus(weight: Tensor, top_p: float) -> Tensor:
    """Unnormalized probabilities [B V], set to 0 outside the smallest set of most likely tokens with mass top_p."""
    ordered, order = weight.sort(dim=-1, descending=True, stable=True)
    before = running_sum(ordered) - ordered
    truncated = ordered.where(before < top_p * weight.sum(-1, keepdim=True), 0)
    return torch.zeros_like(weight).scatter_(-1, order, truncated)


def inverse_cdf(weight: Tensor, uniform: Tensor) -> Tensor:
    """The first token whose cumulative weight exceeds uniform · Σ weight, [B]; it never has weight 0.

    The search finds first a block of about √V tokens, then the token in it, so no cumulative sum over V is needed.
    """
    B, V = weight.shape
    size = 1 << (V.bit_length() // 2)
    if V % size:
        weight = F.pad(weight, (0, -V % size))
    blocks = weight.view(B, -1, size)
    ends = running_sum(blocks.sum(-1))
    block, rest = _first_above(ends, uniform * ends[:, -1])
    inside, _ = _first_above(running_sum(blocks[torch.arange(B, device=weight.device), block]), rest)
    return block * size + inside


def _first_above(ends: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The index of the first of the increasing ends [B n] above the target [B], and the target minus the end before."""
    last = ends[:, -1]
    target = torch.minimum(target, torch.nextafter(last, torch.zeros_like(last)))[:, None]
    index = torch.searchsorted(ends, target, right=True).clamp_(max=ends.shape[1] - 1)  # the clamp is for NaN
    before = ends.gather(-1, (index - 1).clamp_(min=0)).where(index > 0, 0)
    return index.squeeze(1), (target - before).squeeze(1)
