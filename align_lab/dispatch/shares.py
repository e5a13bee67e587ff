"""How many runs of each array of a study may run at the same time, so that together they are `max_parallel`. Pure.

Every array has a share of its own, which Slurm keeps. An array for which nothing is left waits behind the others, and
Slurm starts it, with one run at a time, when they have ended. Shares only grow: what an array no longer needs goes to
the next in the line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Part:
    """An array of runs, or a single job. `behind`: the arrays that it waits for, by their tokens."""

    token: str
    share: int  # how many of its runs Slurm lets run at the same time
    behind: tuple[str, ...] = ()
    live: int = 0  # of its runs are in the queue, and have not ended


def taken(parts: Sequence[Part]) -> int:
    """How many runs may run at the same time at most.

    What waits needs nothing of its own: of all that wait, at most one begins, with one run, when an array ends.
    """
    there = _there(parts)
    return sum(min(part.live, part.share) for part in parts if not waits(part, there))


def of_next(parts: Sequence[Part], *, most: int, left: int) -> tuple[int, tuple[str, ...]]:
    """(share, arrays to wait for) of the next array, when it and others, `left` in all, are still to be submitted."""
    free = most - taken(parts)
    if free > 0:
        return max(1, free // max(1, left)), ()
    there = _there(parts)
    last = [part for part in parts if part.token in there][-1]
    return 1, (*(token for token in last.behind if token in there), last.token)


def handed_on(parts: Sequence[Part], *, most: int) -> Iterator[Part]:
    """The arrays that get more, oldest first, once other arrays need less than their share."""
    there, free = _there(parts), most - taken(parts)
    for part in parts:
        in_use = 0 if waits(part, there) else min(part.live, part.share)
        more = min(free, part.live - in_use)
        if more > 0:
            free -= more
            yield replace(part, share=max(part.share, in_use + more), behind=())


def waits(part: Part, there: Collection[str]) -> bool:
    """Does one of the arrays that it waits for still have runs in the queue?"""
    return any(token in there for token in part.behind)


def _there(parts: Sequence[Part]) -> set[str]:
    return {part.token for part in parts if part.live}
