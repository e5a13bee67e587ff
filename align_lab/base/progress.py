"""How far a long piece of work is: whoever works reports it, whoever listens shows it.

The listener is ambient (it belongs to the current context, and threads begin without one), so that no `build` of a
component has to pass it on. Where nobody listens, a report costs nothing and does nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Listener(Protocol):
    """Where notices and the progress of one piece of work are shown."""

    def notice(self, text: str, /) -> None:
        """One line for a person."""
        ...

    def progress(self, done: int, total: int, /) -> None:
        """`done` of `total` units of the work are complete; the first call has done=0, just before the first unit."""
        ...


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Generator[None]:
    """Reports that are made inside go to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def notice(text: str) -> None:
    """Give the listener one line for a person."""
    if (listener := _listener.get()) is not None:
        listener.notice(text)


def report(done: int, total: int) -> None:
    """Give the listener the state of the work."""
    if (listener := _listener.get()) is not None:
        listener.progress(done, total)


def track(items: Sequence[T]) -> Iterator[T]:
    """The items, one after the other, and a report after the work on each."""
    report(0, len(items))
    for done, item in enumerate(items, start=1):
        yield item
        report(done, len(items))
