"""Commands of the package, each in a fork of one process that has imported it: what `align_lab` does, sooner.

Most of the time of a short run is the import of torch, so each worker of the tests imports it once. A command has an
environment, a folder, a main module and an exit status of its own. Tests of signals, of imports and of memory start an
interpreter instead.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIBRARIES = ("torch._dynamo", "scipy.stats", "scipy.sparse.linalg", "sklearn.linear_model", "safetensors.torch")
PACKAGES = ("algos", "base", "cli", "config", "data", "dispatch", "models", "run", "stages", "tasks", "train")


def run(
    words: Sequence[object],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    typed: str = "",
    seconds: float = 900,
) -> subprocess.CompletedProcess[str]:
    """Do what `align_lab WORDS` does, and return its status and output. typed: its standard input.

    seconds: after these it is killed, and subprocess.TimeoutExpired is raised.
    """
    request = {
        "words": list(map(str, words)),
        "cwd": str(cwd or Path.cwd()),
        "env": dict(os.environ if env is None else env),
    }
    with contextlib.ExitStack() as opened:
        asked, *streams = (opened.enter_context(tempfile.TemporaryFile("w+")) for _ in range(4))
        json.dump(request, asked)
        streams[0].write(typed)
        for file in (asked, streams[0]):
            file.seek(0)
        status = _server().answer([file.fileno() for file in (asked, *streams)], seconds)
        if status is None:
            raise subprocess.TimeoutExpired(request["words"], seconds)
        for file in streams[1:]:
            file.seek(0)
        return subprocess.CompletedProcess(request["words"], status, streams[1].read(), streams[2].read())


class _Server:
    """The process that is forked, and the socket to it."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno())]
        self.process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
        theirs.close()
        atexit.register(self.close)

    def answer(self, files: list[int], seconds: float) -> int | None:
        """The exit status of the command whose request and streams these are; None: it was killed after the seconds."""
        socket.send_fds(self.socket, [b"run"], files)
        pid = int(self.socket.recv(32))
        self.socket.settimeout(seconds)
        try:
            return os.waitstatus_to_exitcode(int(self.socket.recv(32)))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self.socket.settimeout(None)
            self.socket.recv(32)
            return None
        finally:
            self.socket.settimeout(None)

    def close(self) -> None:
        self.socket.close()
        self.process.wait()


@cache
def _server() -> _Server:
    return _Server()


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. Returns the request in the fork, and None in this process once the tests have ended."""
    while True:
        message, files, _, _ = socket.recv_fds(requests, 32, 4)
        if not message:
            return None
        pid = os.fork()
        if not pid:
            requests.close()
            return _received(*files)
        for file in files:
            os.close(file)
        requests.send(str(pid).encode())
        requests.send(str(os.waitpid(pid, 0)[1]).encode())


def _received(asked: int, *streams: int) -> dict[str, Any]:
    """The request, once its files are the standard streams of this process."""
    for number, file in enumerate(streams):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in enumerate("rww"))  # noqa: SIM115
    with open(asked) as file:
        return json.load(file)


def become(request: Mapping[str, Any]) -> None:
    """Run the package as its own main module, with the folder and then PYTHONPATH first in the path."""
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    given = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:] = [request["cwd"], *given, *(folder for folder in sys.path if folder not in given)]
    sys.argv = ["align_lab", *request["words"]]
    sys.modules.pop("align_lab.__main__", None)  # which a test may have imported under that name
    runpy.run_module("align_lab", run_name="__main__", alter_sys=True)


def preload() -> None:
    """Import what most commands import; what is not installed is no command's."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for package in PACKAGES:
        for module in pkgutil.walk_packages([str(ROOT / "align_lab" / package)], f"align_lab.{package}."):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    gc.freeze()  # a collection in a fork copies no page


if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # instead of the folder of this file
    preload()
    if (wanted := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        become(wanted)
