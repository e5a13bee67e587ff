"""Passes of a model without gradient, over some rows of a batch at a time: fewer where memory runs out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from align_lab.base.errors import AlignLabError
from align_lab.base.world import World
from align_lab.models.default_device import no_default_device

Outputs = tuple[Tensor, ...]
OUT_OF_MEMORY = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


@dataclass
class RowBatches:
    """Rows of a batch that one pass takes. When memory runs out, that number is halved, for the rest of the run too.

    A row's result does not depend on the rows beside it, so only memory use and speed depend on this number.
    """

    rows: int | None = None  # at most; None: all rows of a batch
    what: str = "scoring"  # for messages
    field: str = "train.scoring_batch"  # the field of the config that limits the rows

    def __call__(self, work: Callable[[slice], Outputs], count: int, *, world: World | None = None) -> Outputs:
        """The outputs [rows ...] of `work` on these rows, concatenated to [count ...].

        `world`: the processes that make each pass together, because the model is sharded; all of them make equally
        many. Raises AlignLabError where memory runs out and the rows cannot be halved.
        """
        together = 1 if world is None else world.max(self._passes(count))
        parts: list[Outputs] = []
        start = 0
        while start < count or len(parts) < together:
            rest = count - start
            size = -(-rest // max(self._passes(rest), together - len(parts)))
            rows = slice(start, start + size) if rest else slice(0, min(1, count))  # a pass for the other processes
            outputs = self._attempt(work, rows, collective=world is not None)
            if outputs is not None:
                parts.append(outputs if rest else tuple(one[:0] for one in outputs))
                start += size
        return tuple(torch.cat(columns) for columns in zip(*parts, strict=True)) if len(parts) > 1 else parts[0]

    def tensor(self, work: Callable[[slice], Tensor], count: int, *, world: World | None = None) -> Tensor:
        """The same for a single output."""
        return self(lambda rows: (work(rows),), count, world=world)[0]

    def splits(self, count: int) -> bool:
        """Do `count` rows take more than one pass?"""
        return self._passes(count) > 1

    def _passes(self, count: int) -> int:
        """Passes that `count` rows take."""
        return -(-count // (self.rows or max(1, count)))

    def _attempt(self, work: Callable[[slice], Outputs], rows: slice, *, collective: bool) -> Outputs | None:
        """The outputs of these rows; None after memory ran out, with fewer rows from now on."""
        size = rows.stop - rows.start
        try:
            with no_default_device():
                return work(rows)
        except RuntimeError as error:  # torch.OutOfMemoryError is a subclass
            if not is_out_of_memory(error):
                raise
            if size <= 1:
                raise AlignLabError(
                    f"memory ran out in {self.what} of a single completion. Decrease sampling.max_new_tokens, use a "
                    "smaller model or a larger machine"
                ) from error
            if collective:  # the other processes are in the middle of the same pass
                raise AlignLabError(
                    f"memory ran out in {self.what} of {size} completions at a time. Set {self.field}={-(-size // 2)} "
                    "(it changes no result), and run the same command again: it continues from the last checkpoint"
                ) from error
        # outside the handler, whose traceback keeps the tensors alive
        self.rows = -(-size // 2)
        torch.cuda.empty_cache()
        print(f"memory ran out in {self.what}: {self.rows} completions at a time from now on", file=sys.stderr)
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Is this torch's out-of-memory error? On a CPU, and of the libraries of CUDA, only the message tells."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)
