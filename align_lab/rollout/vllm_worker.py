"""vLLM in a process of its own, at a socket. It ends when one of its clients is gone.

    python -P -m align_lab.rollout.vllm_worker SOCKET CLIENTS

All clients ask for the same at the same time, each for its own rows; they are answered together.
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
from align_lab.rollout.vllm_engine import PRIVATE, Inside, Request, VllmSettings


def main(path: str, clients: int) -> int:
    for number in SIGNALS:  # the run decides when it stops, and needs its sampler until then
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(clients)
        connections = [listener.accept()[0] for _ in range(clients)]
    with suppress(EOFError, BrokenPipeError):
        serve(connections)
    if Path(path).parent.name.startswith(PRIVATE):  # a run that was killed cannot, and the weights may lie in memory
        shutil.rmtree(Path(path).parent, ignore_errors=True)
    return 0


def serve(connections: list[socket.socket]) -> None:
    engine: Inside | None = None
    while True:
        asked = [wire.receive(connection) for connection in connections]
        what = asked[0][0].pop("do")
        try:
            if what == "start":
                engine = Inside(VllmSettings(**asked[0][0]))
            answers = ANSWERS[what](engine, asked)
        except Exception as error:
            text = str(error) if isinstance(error, AlignLabError) else f"{type(error).__name__}: {error}"
            for connection in connections:
                wire.send(connection, {"error": text})
            continue
        for connection, answer in zip(connections, answers, strict=True):
            wire.send(connection, {}, answer)


Asked = list[wire.Message]
Answer = dict[str, Tensor]


def _started(engine: Any, asked: Asked) -> list[Answer]:
    return [{} for _ in asked]


def _load(engine: Any, asked: Asked) -> list[Answer]:
    engine.load(Path(asked[0][0]["folder"]))
    return [{} for _ in asked]


def _sleep(engine: Any, asked: Asked) -> list[Answer]:
    engine.sleep()
    return [{} for _ in asked]


def _complete(engine: Any, asked: Asked) -> list[Answer]:
    prompts, seeds, counts = list[list[int]](), list[int](), list[int]()
    for _, tensors in asked:
        prompts += [part.tolist() for part in tensors["prompts"].split(tensors["lengths"].tolist())]
        seeds += tensors["seeds"].tolist()
        counts.append(len(tensors["seeds"]))
    found = engine.complete(Request(prompts=prompts, seeds=seeds, **asked[0][0]))
    parts = {name: torch.split(value, counts) for name, value in vars(found).items()}
    return [{name: part[number] for name, part in parts.items()} for number in range(len(asked))]


ANSWERS: dict[str, Callable[[Any, Asked], list[Answer]]] = {
    "start": _started,
    "load": _load,
    "sleep": _sleep,
    "complete": _complete,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
