"""A child process that runs a function with limits of time and memory, so that code of others cannot harm a run.

The child answers calls over a socket (`child_wire`). It is killed when a call takes too long or the process and its
descendants use too much memory, and the next call starts a new one. It ends with this process, whatever ends that, and
so does what the function has started.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

from align_lab.rewards import child_frames, child_wire
from align_lab.rewards.child_memory import GIB, resident
from align_lab.rewards.child_output import Output

ROOT = str(Path(__file__).parents[2])  # the folder that this package is imported from, for example a snapshot
TICK = 0.05  # seconds between two looks at the memory
LOAD_SECONDS = 120.0  # limit of importing the function and all that it imports
STACK_SECONDS = 0.2  # that a child which hangs has for writing where it hangs
STACK_BYTES = 1 << 16  # of what it writes

Kind = Literal["raised", "slow", "memory", "died"]


class CallFailed(Exception):
    """A call has no result. `reason`: a sentence without its full stop, and lines of code that it is about."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


class Child:
    """Runs the function that `target` ("module:maker") makes from `settings`, in a process that can be killed."""

    def __init__(
        self,
        target: str,
        settings: Mapping[str, Any],
        *,
        name: str,
        memory_gib: float,
        before_start: Callable[[], None] = lambda: None,
    ) -> None:
        """`name`: what is shown before a line that the function prints. `before_start` is called before every start."""
        self.target, self.settings, self.memory_gib, self.before_start = target, settings, memory_gib, before_start
        self.output = Output(name)
        self._process: _Process | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the process and load the function, unless it is there. Raises CallFailed."""
        with self._lock:
            self._started()

    def call(self, arguments: Mapping[str, Any], *, seconds: float) -> Any:
        """The function's result. Arguments and result are what JSON can hold. Raises CallFailed."""
        with self._lock:
            process = self._started()
            return self._exchange(process, {"call": arguments}, seconds)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _started(self) -> _Process:
        if self._process is not None and self._process.popen.poll() is None:
            return self._process
        self._end()
        self.before_start()
        self._process = _Process(self.memory_gib, self.output)
        self._exchange(self._process, {"load": self.target, "settings": dict(self.settings)}, LOAD_SECONDS)
        return self._process

    def _exchange(self, process: _Process, message: Mapping[str, Any], seconds: float) -> Any:
        """Whatever goes wrong, also a signal in this process, the child is ended: its next answer would be too late."""
        try:
            answer = process.exchange(message, seconds)
        except BaseException:
            self._end()
            raise
        if "raised" in answer:
            raise CallFailed("memory" if answer["memory"] else "raised", answer["raised"])
        return answer["result"]

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
        self._process = None


class _Process:
    """One child process and the socket to it."""

    def __init__(self, memory_gib: float, output: Output) -> None:
        self.memory = int(memory_gib * GIB)
        self.stacks = tempfile.TemporaryFile()  # noqa: SIM115  # the child's fault handler writes to it
        self.socket, theirs = socket.socketpair()
        self.socket.setblocking(False)
        fds = (theirs.fileno(), self.stacks.fileno())
        command = [sys.executable, "-u", "-P", "-m", "align_lab.rewards.child_worker"]
        with theirs:
            self.popen = subprocess.Popen(
                [*command, *map(str, (*fds, self.memory, os.getpid()))],
                env=_environment(),
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C does not reach it, and its descendants can be killed with it
            )
        assert self.popen.stdout is not None
        output.follow(self.popen.stdout)
        self.end = weakref.finalize(self, _end, self.popen, self.socket, self.stacks)

    def exchange(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a message and wait for its answer. Raises CallFailed if there is none."""
        deadline = time.monotonic() + seconds
        try:
            child_wire.send(self.socket, message, lambda: self._wait(select.POLLOUT, deadline, seconds))
            return child_wire.receive(self.socket, lambda: self._wait(select.POLLIN, deadline, seconds))
        except (EOFError, ConnectionError):
            raise CallFailed("died", self._death()) from None

    def _wait(self, event: int, deadline: float, seconds: float) -> None:
        """Return when the socket is ready. Raises CallFailed at the deadline, or above the memory limit."""
        poll = select.poll()
        poll.register(self.socket, event)
        while not poll.poll(1000 * max(0.0, min(TICK, deadline - time.monotonic()))):
            if (used := resident(self.popen.pid)) > self.memory:
                used_gib = f"{used / GIB:.1f} GiB of memory"
                raise CallFailed("memory", f"it used {used_gib} and was ended; the limit is {self.memory / GIB:g} GiB")
            if time.monotonic() >= deadline:
                raise CallFailed("slow", f"it had not returned after {seconds:g} s and was ended{self._stack()}")

    def _stack(self) -> str:
        """Where the function hangs."""
        with suppress(ProcessLookupError):
            self.popen.send_signal(signal.SIGUSR1)
        end = time.monotonic() + STACK_SECONDS
        while not (lines := self._frames()) and time.monotonic() < end:
            time.sleep(0.01)
        return lines

    def _death(self) -> str:
        status = self.popen.wait()
        if status >= 0:
            return f"its process ended with status {status}{self._frames()}"
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        cause = ", which the system does when memory is short" if -status == signal.SIGKILL else ""
        return f"its process was ended by {name}{cause}{self._frames()}"

    def _frames(self) -> str:
        """The innermost lines of the function's own code in what the fault handler has written."""
        written = os.pread(self.stacks.fileno(), STACK_BYTES, 0)
        return child_frames.of_stack(written.decode(errors="replace").splitlines())


def _environment() -> dict[str, str]:
    """One thread unless the user says otherwise, and the same order of sets in every process."""
    env = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONHASHSEED": "0"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (ROOT, env.get("PYTHONPATH"))))
    return env


def _end(popen: subprocess.Popen[bytes], connection: socket.socket, stacks: IO[bytes]) -> None:
    connection.close()
    stacks.close()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()
