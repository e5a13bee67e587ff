"""The server of a vLLM engine in a process of its own, on a Unix socket. It exits when a client disconnects.

    python -P -m align_lab.rollout.vllm_worker SOCKET CLIENTS

All clients send the same request at the same time, each with its own rows; one call of the engine answers them all.
"""

from __future__ import annotations

import shutil
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from align_lab.base.errors import AlignLabError
from align_lab.base.signals import SIGNALS
from align_lab.rollout import wire
from align_lab.rollout.vllm_engine import FOLDER_PREFIX, InProcessEngine, Request, VllmSettings


def main(path: str, clients: int) -> int:
    """Wait for all clients at the socket `path`, and serve them. Returns the exit status."""
    for number in SIGNALS:  # the run handles signals, and needs its sampler until it has saved
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(clients)
        connections = [listener.accept()[0] for _ in range(clients)]
    with suppress(EOFError, BrokenPipeError):
        serve(connections)
    if Path(path).parent.name.startswith(FOLDER_PREFIX):  # a killed run cannot remove it, and /dev/shm is memory
        shutil.rmtree(Path(path).parent, ignore_errors=True)
    return 0


def serve(connections: list[socket.socket]) -> None:
    """Answer requests until a client disconnects, which raises EOFError; errors are sent to the clients."""
    engine: InProcessEngine | None = None
    while True:
        requests = [wire.receive(connection) for connection in connections]
        action = requests[0][0].pop("do")
        try:
            if action == "start":
                engine = InProcessEngine(VllmSettings(**requests[0][0]))
            answers = HANDLERS[action](engine, requests)
        except Exception as error:
            text = str(error) if isinstance(error, AlignLabError) else f"{type(error).__name__}: {error}"
            for connection in connections:
                wire.send(connection, {"error": text})
            continue
        for connection, answer in zip(connections, answers, strict=True):
            wire.send(connection, {}, answer)


Messages = list[wire.Message]  # one per client
Answer = dict[str, Tensor]


def _start(engine: Any, requests: Messages) -> list[Answer]:
    return [{} for _ in requests]


def _load(engine: Any, requests: Messages) -> list[Answer]:
    engine.load(Path(requests[0][0]["folder"]))
    return [{} for _ in requests]


def _sleep(engine: Any, requests: Messages) -> list[Answer]:
    engine.sleep()
    return [{} for _ in requests]


def _complete(engine: Any, requests: Messages) -> list[Answer]:
    prompts, seeds, counts = list[list[int]](), list[int](), list[int]()
    for _, tensors in requests:
        prompts += [part.tolist() for part in tensors["prompts"].split(tensors["lengths"].tolist())]
        seeds += tensors["seeds"].tolist()
        counts.append(len(tensors["seeds"]))
    completions = engine.complete(Request(prompts=prompts, seeds=seeds, **requests[0][0]))
    parts = {name: torch.split(value, counts) for name, value in vars(completions).items()}
    return [{name: part[number] for name, part in parts.items()} for number in range(len(requests))]


HANDLERS: dict[str, Callable[[Any, Messages], list[Answer]]] = {
    "start": _start,
    "load": _load,
    "sleep": _sleep,
    "complete": _complete,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
