"""A process that ends with the one that started it, whatever ends that."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

SIGNAL_OF_DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)


def end_with(parent: int, number: signal.Signals) -> None:
    """This process gets the signal when its parent ends; it ends at once where the parent has ended before.

    Only Linux can tell a process that its parent has ended.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SIGNAL_OF_DEATH, int(number))
    if os.getppid() != parent:
        os._exit(1)
