"""SIGTERM, SIGUSR2 and Ctrl-C stop a run: in the training loop after the current step, elsewhere at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from align_lab.base.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)


class Again(KeyboardInterrupt):
    """A second Ctrl-C, which does not wait for the end of the step, and saves nothing more."""


class StopRequest:
    """Set by a signal handler. While `patient`, the signal is only recorded; otherwise the handler raises Stopped."""

    def __init__(self) -> None:
        self.asked = False
        self.patient = False

    def __bool__(self) -> bool:
        return self.asked

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self.asked and number == signal.SIGINT:
            raise Again
        first, self.asked = not self.asked, True
        if first and not self.patient:  # a second signal must not interrupt the cleanup after the first
            raise Stopped("stopped before training; the same command goes on")


@contextmanager
def stop_requests() -> Generator[StopRequest]:
    """Install the handlers inside the `with` block; only the main thread can, in others the request is never set."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.signal(number, request.handle) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def deaf_to_interrupts() -> Generator[None]:
    """Ignore SIGINT inside the `with` block: processes started there inherit it, and Ctrl-C does not end them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
