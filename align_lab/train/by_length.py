"""Rows of similar length are computed together, without the columns that none of them needs.

Prompts are padded on the left and responses on the right. A row's results do not depend on the rows beside it or on its
padding, so only speed and memory do; in floating point they are equal up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from align_lab.base.world import World
from align_lab.models.row_batches import Outputs, RowBatches

Rows = tuple[Tensor, Tensor | None, Tensor]  # ids, padding and mask, as a model takes them
Work = Callable[[Tensor, Tensor | None, Tensor], Outputs]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that a model reads of some rows."""

    prompt: int  # of the longest prompt
    response: int  # up to the last that counts, at least one
    padded: bool  # is a prompt shorter than the longest?


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """The columns that each of N rows needs. They lie in main memory, so a GPU is waited for once."""

    longest_prompt: Tensor  # [N]; a row may be a group
    shortest_prompt: Tensor  # [N]
    response: Tensor  # [N]

    @classmethod
    def of(cls, pad: Tensor, mask: Tensor, prompt: int) -> Lengths:
        """pad [N ...] and mask [N ... T] of rows whose prompts have `prompt` columns, padding included."""
        pads, columns = pad.flatten(1) if pad.ndim > 1 else pad[:, None], mask.flatten(1, -2).any(1)
        ends = (columns * torch.arange(1, mask.shape[-1] + 1, device=mask.device)).amax(-1).clamp_(min=1)
        longest, shortest, response = torch.stack([prompt - pads.amin(1), prompt - pads.amax(1), ends]).cpu()
        return cls(longest_prompt=longest, shortest_prompt=shortest, response=response)

    def longest_first(self, rows: Tensor) -> Tensor:
        """These of the rows, the longest first: where memory does not suffice, it runs out at once."""
        total = self.longest_prompt[rows] + self.response[rows]
        return rows[total.argsort(descending=True, stable=True)]

    def columns(self, rows: Tensor) -> Columns:
        """The columns that these of the rows need together."""
        longest = int(self.longest_prompt[rows].max())
        return Columns(
            prompt=longest,
            response=int(self.response[rows].max()),
            padded=int(self.shortest_prompt[rows].min()) < longest,
        )


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """Prompts and responses of B rows."""

    ids: Tensor  # [B S+T]
    pad: Tensor  # [B] left padding
    mask: Tensor  # [B T]

    @cached_property
    def lengths(self) -> Lengths:
        """Those of each row."""
        return Lengths.of(self.pad, self.mask[:, None], self.prompt)

    @property
    def prompt(self) -> int:
        """S, padding included."""
        return self.ids.shape[1] - self.mask.shape[1]

    def scored(self, work: Work, batches: RowBatches, *, world: World | None = None) -> Outputs:
        """What `work` gives of ids, padding and mask of every row: each output [B T], 0 where no column was computed.

        Rows that take several passes are ordered by length and cut to their columns. In a single pass, a sum has the
        same terms however many rows each process has. `world`: see `RowBatches`.
        """
        if not batches.splits(len(self.ids)):
            return batches(lambda rows: work(*self._whole(rows)), len(self.ids), world=world)
        order = self.lengths.longest_first(torch.arange(len(self.ids), device="cpu"))
        outputs = batches(lambda rows: self._widened(work(*self._cut(order[rows]))), len(order), world=world)
        place = order.argsort().to(self.ids.device)
        return tuple(each[place] for each in outputs)

    def _whole(self, rows: slice) -> Rows:
        """ids, padding and mask of these rows, as a model takes them."""
        return self.ids[rows], self.pad[rows] if self._padded else None, self.mask[rows]

    def _cut(self, rows: Tensor) -> Rows:
        """The same without columns that none of these rows needs."""
        columns, index = self.lengths.columns(rows), rows.to(self.ids.device)
        left = self.prompt - columns.prompt
        return (
            self.ids[index, left : self.prompt + columns.response],
            self.pad[index] - left if columns.padded else None,
            self.mask[index, : columns.response],
        )

    def _widened(self, outputs: Outputs) -> Outputs:
        """With the columns that were cut off."""
        T = self.mask.shape[1]
        return tuple(F.pad(each, (0, T - each.shape[1])) for each in outputs)

    @cached_property
    def _padded(self) -> bool:
        return bool(self.pad.any())
