"""SIGTERM, SIGUSR2 and Ctrl-C ask a run to stop: inside the loop after the step, elsewhere at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from align_lab.base.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)


class StopRequest:
    """Set by a signal. While `patient` it is only remembered; otherwise Stopped is raised where the program is."""

    def __init__(self) -> None:
        self.asked = False
        self.patient = False

    def __bool__(self) -> bool:
        return self.asked

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait for the step
        first, self.asked = not self.asked, True
        if first and not self.patient:  # a second signal must not interrupt the cleaning up after the first
            raise Stopped("stopped before training began; nothing is lost. Run the same command again to continue")


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Listen inside the context, in the main thread; elsewhere the request is never made."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.handle) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal; those started inside inherit that they do not hear it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
