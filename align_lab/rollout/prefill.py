"""The prompts of a batch: each is read once, and its keys and values are repeated for all rows that complete it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from align_lab.models import kv_cache
from align_lab.models.language_model import GrowingCache, LanguageModel


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """Left-padded prompts and the B rows that complete them: `group` consecutive rows have the same prompt."""

    ids: Tensor  # [P S]
    pad: Tensor | None  # [P]; None if no prompt is padded
    rows: int  # B
    group: int
    earlier: int = 0  # rows of the first prompt that belong to another batch

    @classmethod
    def of(cls, ids: Tensor, pad: Tensor | None, rows: int) -> Prompted:
        """Each prompt has equally many of the rows."""
        return cls(ids=ids, pad=pad, rows=rows, group=rows // len(ids))

    def take(self, rows: slice) -> Prompted:
        """These of the rows, with their prompts alone."""
        first, last = rows.start // self.group, -(-rows.stop // self.group)
        return Prompted(
            ids=self.ids[first:last],
            pad=None if self.pad is None else self.pad[first:last],
            rows=rows.stop - rows.start,
            group=self.group,
            earlier=rows.start - first * self.group,
        )

    def prompt_of(self) -> Tensor:
        """The prompt of each row, [B]."""
        return torch.arange(self.earlier, self.earlier + self.rows, device=self.ids.device) // self.group


@dataclass(frozen=True, kw_only=True)
class Prefilled:
    """The rows of a batch after their prompts."""

    cache: GrowingCache  # of B rows, with the columns of their prompts
    hidden: Tensor  # [B D], which predict the first tokens
    pad: Tensor | None  # [B]
    room: int  # columns, prompts and completions together


def prefill(model: LanguageModel, prompted: Prompted, new: int) -> Prefilled:
    """The rows with room for `new` more columns, of which the last one is not read. Raises ValueError without it."""
    P, S = prompted.ids.shape
    if S + new - 1 > model.context:
        raise ValueError(f"{S + new - 1} tokens exceed the model's context of {model.context}")
    room = kv_cache.aligned(S + new) if kv_cache.shapes_are_fixed(prompted.ids) else S + new
    if prompted.rows == P:
        cache = model.new_cache(P, room)
        hidden = model.step(prompted.ids, cache, prompted.pad)
        return Prefilled(cache=cache, hidden=hidden, pad=prompted.pad, room=room)
    cache, prompt_of = model.new_cache(P, S), prompted.prompt_of()
    hidden = model.step(prompted.ids, cache, prompted.pad)
    return Prefilled(
        cache=cache.repeat(prompt_of, room),
        hidden=hidden[prompt_of],
        pad=None if prompted.pad is None else prompted.pad[prompt_of],
        room=room,
    )
