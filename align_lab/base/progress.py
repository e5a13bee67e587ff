"""Progress of long operations: the code that does the work reports it, and a listener shows it.

The listener is a context variable (new threads start without one), so that no `build` of a component has to pass it on.
Without a listener, a report has no effect.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")
NOTICE_SECONDS = 5.0  # between two notices of `counted`


class Listener(Protocol):
    """Shows notices and the progress of one operation."""

    def notice(self, text: str, /) -> None:
        """Show one line to the user."""
        ...

    def progress(self, done: int, total: int, /) -> None:
        """`done` of `total` units of work are complete; the first call has done=0, just before the first unit."""
        ...


@dataclass(frozen=True)
class NoticesOnly:
    """A listener that shows notices and no progress."""

    show: Callable[[str], None]

    def notice(self, text: str, /) -> None:
        """Show one line to the user."""
        self.show(text)

    def progress(self, done: int, total: int, /) -> None:
        """Not shown."""


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Generator[None]:
    """Inside the context, reports go to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def notice(text: str) -> None:
    """Show one line to the user."""
    if (listener := _listener.get()) is not None:
        listener.notice(text)


def report(done: int, total: int) -> None:
    """Report that `done` of `total` units of work are complete."""
    if (listener := _listener.get()) is not None:
        listener.progress(done, total)


def counted(items: Sequence[T], what: str) -> Iterator[T]:
    """Yield the items; for many, a notice every few seconds says how many of them are done."""
    said = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - said >= NOTICE_SECONDS:
            said = time.monotonic()
            notice(f"{what}: {done:,} of {len(items):,}")
        yield item


def track(items: Sequence[T]) -> Iterator[T]:
    """Yield the items, and report progress after the work on each."""
    report(0, len(items))
    for done, item in enumerate(items, start=1):
        yield item
        report(done, len(items))
