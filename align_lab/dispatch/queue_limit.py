"""A study that is larger than what an account may have in the queue: as much as fits is submitted."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from align_lab.dispatch.plan import JobArray
from align_lab.dispatch.slurm_commands import SlurmError

T = TypeVar("T")
TOO_MANY = re.compile(r"job submit limit|MaxSubmit|MaxJobCount|too many jobs|Job array.*limit", re.IGNORECASE)


class QueueIsFull(SlurmError):
    """The account may have no more jobs in the queue. `left`: what was not submitted, in its order."""

    def __init__(self, message: str, left: tuple[JobArray, ...]) -> None:
        super().__init__(message)
        self.left = left


def as_many_as_fit(batches: Iterable[JobArray], submit: Callable[[JobArray], T]) -> Iterator[T]:
    """Submit the arrays in their order, and halves of one that is refused for its number of jobs.

    Raises QueueIsFull where not even one more job is taken.
    """
    left = deque(batches)
    while left:
        batch = left.popleft()
        try:
            yield submit(batch)
        except SlurmError as error:
            if not TOO_MANY.search(str(error)):
                raise
            if len(batch.tasks) == 1:
                count = sum(len(each.tasks) for each in left) + 1
                message = (
                    f"{error}. Your account may have no more jobs in the queue: {count} are left. The same command "
                    "submits them when jobs have ended"
                )
                raise QueueIsFull(message, (batch, *left)) from error
            half = len(batch.tasks) // 2
            left.extendleft([JobArray(tasks=batch.tasks[half:]), JobArray(tasks=batch.tasks[:half])])
