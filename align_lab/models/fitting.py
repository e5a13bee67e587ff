"""What all training on fixed texts shares: padded batches of similar lengths, and the course of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def follow(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Take one step of each optimizer at `factor` times its peak learning rate, and clear the gradients."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        optimizer.step()
        optimizer.zero_grad()


def trapezoid(step: int, steps: int, *, warmup: float, decay: float) -> float:
    """Learning rate over its peak: it rises, stays and falls to 0 in linear pieces."""
    return min(1.0, (step + 1) / max(1.0, warmup * steps), (steps - step) / (decay * steps))


def by_length(sequences: Sequence[Sequence[int]], rows: Sequence[int], tokens: int) -> list[list[int]]:
    """Rows sorted by length, in batches of at most `tokens` tokens with their padding, and of one row at least."""
    batches: list[list[int]] = [[]]
    for row in sorted(rows, key=lambda row: len(sequences[row])):
        if batches[-1] and len(sequences[row]) * (len(batches[-1]) + 1) > tokens:
            batches.append([])
        batches[-1].append(row)
    return batches


def collate(sequences: Sequence[Sequence[int]], starts: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """ids [B L], padded on the right with 0, and mask [B L]: True from each row's start (None: 0) to its end."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    columns = torch.arange(int(lengths.max()))
    mask = columns < lengths[:, None]
    ids = torch.zeros(mask.shape, dtype=torch.long)
    ids[mask] = torch.tensor([token for sequence in sequences for token in sequence])
    return ids, mask if starts is None else mask & (columns >= torch.tensor(starts)[:, None])
