"""The child process of `align_lab.rewards.child`: loads one function and calls it, until the connection is closed.

Its standard output and error belong to the function. It imports what the function imports, and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import importlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from align_lab.base.parent import end_with
from align_lab.rewards import child_frames, child_wire


def main(arguments: list[str]) -> None:
    """`arguments`: the descriptors of the socket and of the fault handler's file, bytes of memory, the parent's id."""
    connected, stacks, memory, parent = map(int, arguments)
    os.set_inheritable(connected, False)
    os.set_inheritable(stacks, False)
    faulthandler.enable(stacks)
    faulthandler.register(signal.SIGUSR1, stacks)
    _limit(memory)
    _guard()
    end_with(parent, signal.SIGKILL)  # also in the middle of a call
    function: Callable[[Any], Any] | None = None
    with socket.socket(fileno=connected) as connection, contextlib.suppress(EOFError, ConnectionError):
        while True:
            message = child_wire.receive(connection)
            try:
                if "load" in message:
                    function, result = _load(message["load"], message["settings"]), None
                else:
                    assert function is not None
                    result = function(message["call"])
                answer = {"result": result}
            except BaseException as error:  # SystemExit too: the function may call sys.exit
                answer = {"raised": child_frames.in_words(error), "memory": _is_memory(error)}
            child_wire.send(connection, answer)


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM


def _load(target: str, settings: dict[str, Any]) -> Callable[[Any], Any]:
    module, _, maker = target.partition(":")
    return getattr(importlib.import_module(module), maker)(**settings)


def _guard() -> None:
    """A fork that ends what the function has started once this process has ended, whatever has ended it.

    What the function starts is in this process's group, unless it leaves that.
    """
    worker = os.getpid()
    if sys.platform != "linux" or os.getpgrp() != worker or os.fork():
        return
    try:
        os.closerange(0, 1 << 10)  # else the connection would stay open after the end of the worker
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        end_with(worker, signal.SIGTERM)
        signal.sigwait({signal.SIGTERM})
        os.killpg(worker, signal.SIGKILL)
    finally:
        os._exit(0)


def _limit(memory: int) -> None:
    """An allocation beyond the limit raises MemoryError. The parent looks at what this limit does not count."""
    for kind, limit in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CORE, 0)):
        highest = resource.getrlimit(kind)[1]
        allowed = limit if highest == resource.RLIM_INFINITY else min(limit, highest)
        resource.setrlimit(kind, (allowed, highest))


if __name__ == "__main__":
    main(sys.argv[1:])
