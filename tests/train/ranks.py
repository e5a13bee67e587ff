"""The processes of a run as threads of one process: what each of them would send, the others get."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from align_lab.base.world import World


class Ended(Exception):
    """Another rank has ended, and does not come to the meeting."""


class Meeting:
    """Where all ranks leave a value, again and again, and take those of all."""

    def __init__(self, size: int) -> None:
        self.changed, self.ended = threading.Condition(), False
        self.left: list[list[Any]] = [[] for _ in range(size)]  # by rank: the values in the order of the meetings

    def of_all(self, rank: int, value: Any) -> list[Any]:
        """The values of all ranks, in their order. Raises Ended."""
        with self.changed:
            self.left[rank].append(value)
            count = len(self.left[rank])
            self.changed.notify_all()
            complete = self.changed.wait_for(lambda: self.ended or self._is_complete(count), timeout=600)
            if not complete or not self._is_complete(count):
                raise Ended
            return [values[count - 1] for values in self.left]

    def _is_complete(self, count: int) -> bool:
        return all(len(values) >= count for values in self.left)

    def end(self) -> None:
        """Nobody waits any more."""
        with self.changed:
            self.ended = True
            self.changed.notify_all()


@dataclass(frozen=True, kw_only=True)
class Rank(World):
    """One of several threads that behave as the processes of a run."""

    meeting: Meeting = field(default_factory=lambda: Meeting(1))

    def broadcast(self, value):
        return self.meeting.of_all(self.rank, value)[0]

    def concatenate(self, items):
        return [item for part in self.meeting.of_all(self.rank, items) for item in part]

    def gather_tensor(self, value):
        return torch.cat(self.meeting.of_all(self.rank, value))

    def max(self, value):
        return max(self.meeting.of_all(self.rank, value))

    def add_up(self, tensors):
        own = list(tensors)
        for mine, *parts in zip(own, *self.meeting.of_all(self.rank, [one.clone() for one in own]), strict=True):
            mine.copy_(sum(parts))

    def begin_adding_up(self, bucket):
        begun = [one.clone() for one in bucket]  # what is added after the beginning has no part in the sum

        def wait():
            for own, *parts in zip(bucket, *self.meeting.of_all(self.rank, begun), strict=True):
                own.copy_(sum(parts))

        return wait


def ranks(count: int) -> list[Rank]:
    """That many ranks that know each other."""
    meeting = Meeting(count)
    return [Rank(rank=rank, size=count, meeting=meeting) for rank in range(count)]


def together(works: list[Callable[[], Any]], meeting: Meeting) -> list[Any]:
    """What each rank returns, or the exception that it raises."""

    def one(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:
            meeting.end()
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(one, works))
