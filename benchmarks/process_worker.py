"""Two processes that compute the update of one, for `processes.py`: with our engines, with PyTorch's DDP, or one alone.

python process_worker.py alone|torch|ddp|zero0|zero1|zero2|zero3 FOLDER
"""

from __future__ import annotations

import multiprocessing as mp
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from our_worker import loop
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from worker import Gate

from align_lab.base.world import World, joined
from align_lab.train.engines.torch_engine import TorchEngine

Step = Callable[[], dict[str, float]]


class Ddp(TorchEngine):
    """Gradients are averaged by PyTorch's DistributedDataParallel while the backward pass runs."""

    def __init__(self, model: nn.Module, **options: Any) -> None:
        super().__init__(model, **options)
        self.wrapped = DistributedDataParallel(model)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return (self.wrapped if torch.is_grad_enabled() else self.model)(*inputs, **options)

    def reduce(self, world: World) -> None:
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(world.size)  # the loss is this process' part of a sum, and DDP averages
        super().reduce(World())


def make_step(method: str, folder: Path, world: World) -> Step:
    engine: Any = Ddp if method == "ddp" else TorchEngine
    if method.startswith("zero"):
        from align_lab.train.engines.deepspeed_engine import deepspeed_engine

        engine = deepspeed_engine(stage=int(method[-1]), offload=False)
    training = loop(folder, "grpo", make_engine=engine, world=world)
    return lambda: {"update": training.advance()["time/update"]}


def serve(rank: int, method: str, folder: Path, port: int, count: int) -> None:
    """The first process talks to the benchmark; the others take a step when it does."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"}
    gate = None if rank else Gate()
    with joined() as world:
        step = make_step(method, folder, world)
        if gate:
            gate.ready()
        while world.broadcast(gate.wait() if gate else None):
            seconds = step()
            if gate:
                gate.done(seconds)


def main(method: str, folder: Path) -> None:
    count = 1 if method == "alone" else 2
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawned = mp.get_context("spawn")
    others = [spawned.Process(target=serve, args=(rank, method, folder, port, count)) for rank in range(1, count)]
    for process in others:
        process.start()
    serve(0, method, folder, port, count)
    for process in others:
        process.join()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
