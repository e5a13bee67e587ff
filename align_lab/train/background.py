"""Work that a thread does while the training goes on: checkpoints are written and hashed in it, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """One piece of work at a time."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.error: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin a piece of work, once the one before has ended. Raises what that one has raised."""
        self.wait()
        # not one that Python waits for when the process ends: it is to end at a second Ctrl-C
        self.thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self.thread.start()

    def wait(self) -> None:
        """Wait until it has ended. Raises what it has raised, once."""
        thread, self.thread = self.thread, None
        if thread is not None:
            thread.join()
        error, self.error = self.error, None
        if error is not None:
            raise error

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.error = error
