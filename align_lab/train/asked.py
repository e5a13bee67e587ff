"""Completions that were asked for, for a step's prompts; and as part of a checkpoint, for any number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from align_lab.base.world import World
from align_lab.rollout.sampler import Pending, Samples


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which prompts of a run: `groups` of all processes, after the `first` that were drawn before."""

    step: int
    groups: int
    first: int


@dataclass(frozen=True, kw_only=True)
class Asked:
    """This process's share of a step's prompts, and the completions that it has asked for."""

    place: Place
    indices: Sequence[int]  # of the prompts in the data
    passes: Sequence[int]  # of each prompt, how often it was drawn before
    ids: Tensor  # [B S] left-padded prompts, B = P·G
    pad: Tensor  # [B]
    completions: Pending  # B rows
    greedy: Pending | None  # P rows, where the algorithm needs them
    stale: bool = False  # other weights sample than those of the learner

    def wait(self) -> None:
        """Return when all completions are there. A collective operation."""
        for pending in self._pending():
            _ = pending.samples

    def charges(self, world: World) -> tuple[int, int]:
        """Episodes and tokens that these completions are charged, over all processes; it waits for them."""
        masks = [pending.samples.mask for pending in self._pending()]
        return world.sum(sum(len(mask) for mask in masks)), world.sum(sum(int(mask.sum()) for mask in masks))

    def state_dict(self, world: World) -> dict[str, Any]:
        """The place and the completions of all processes, for a checkpoint; it waits for them."""
        greedy = None if self.greedy is None else gathered(self.greedy.samples, world)
        return {"place": asdict(self.place), "completions": gathered(self.completions.samples, world), "greedy": greedy}

    def _pending(self) -> Iterator[Pending]:
        yield self.completions
        if self.greedy is not None:
            yield self.greedy


def there(samples: Samples) -> Pending:
    """Completions that nobody has to wait for."""
    return Pending(wait=lambda: samples)


def gathered(samples: Samples, world: World) -> dict[str, Tensor]:
    """The rows of all processes, in the order of the prompts."""
    return {f.name: world.gather_tensor(getattr(samples, f.name)) for f in fields(samples)}


def restored(state: Mapping[str, Tensor]) -> Samples:
    """What `gathered` gave, where the models are: a checkpoint is read into main memory."""
    return Samples(**{name: value.to(torch.get_default_device()) for name, value in state.items()})


def shard(samples: Samples, groups: int, world: World) -> Samples:
    """The rows of this process's share of the prompts, of the rows of all."""

    def own(value: Tensor) -> Tensor:
        return world.shard(value.unflatten(0, (groups, -1))).flatten(0, 1)

    return Samples(**{f.name: own(getattr(samples, f.name)) for f in fields(samples)})
