"""The client of a vLLM engine in another process: starts it, sends requests over a socket, and detects its death."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from align_lab.base.errors import SamplerError
from align_lab.rollout import wire
from align_lab.rollout.vllm_engine import ENVIRONMENT, Completions, Request, VllmSettings

ROOT = str(Path(__file__).parents[2])  # the folder that this package is imported from, for example a snapshot
NOT_INHERITED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
CONNECT_SECONDS = 600.0  # importing torch takes long on a busy machine
EXIT_SECONDS = 60.0  # so does the end of a process whose socket is closed


class RemoteEngine:
    """A vLLM process with `clients` clients, of which this process is one; the client that starts it also ends it."""

    def __init__(
        self, settings: VllmSettings, *, address: Path, starts: bool, clients: int = 1, gpus: Sequence[int] = ()
    ) -> None:
        self.log = address.with_suffix(".log")
        self.process = launch(address, clients, gpus, self.log) if starts else None
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self._connect(address)
            self._request("start", asdict(settings))
        except SamplerError:
            self.close()
            raise

    def load(self, weights: Mapping[str, Tensor] | Path) -> None:
        """Replace all weights, from a folder that both processes can read."""
        self._request("load", {"folder": str(weights)})

    def complete(self, request: Request) -> Completions:
        """Generate one completion per prompt. All clients of the process must call it."""
        fields = {name: getattr(request, name) for name in ("by_row", "new", "temperature", "top_p", "eos")}
        flat = [token for ids in request.prompts for token in ids]
        tensors = {
            "prompts": torch.tensor(flat, dtype=torch.int64, device="cpu"),
            "lengths": torch.tensor([len(ids) for ids in request.prompts], dtype=torch.int64, device="cpu"),
            "seeds": torch.tensor(request.seeds, dtype=torch.int64, device="cpu"),
        }
        return Completions(**self._request("complete", fields, tensors))

    def sleep(self) -> None:
        """Free the device's memory until the next `load`."""
        self._request("sleep", {})

    def close(self) -> None:
        """Disconnect, also while another thread waits for an answer. The process exits when a client disconnects; if it
        does not within 10 s, it is killed."""
        with suppress(OSError):  # it was never connected, or its other end has gone
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        if self.process is not None:
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _request(self, action: str, fields: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> Any:
        try:
            wire.send(self.socket, {"do": action, **fields}, tensors)
            reply, answer = wire.receive(self.socket)
        except (EOFError, OSError) as error:
            raise self._exit_error() from error
        if "error" in reply:
            raise SamplerError(reply["error"])
        return answer

    def _connect(self, address: Path) -> None:
        deadline = time.monotonic() + CONNECT_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError):  # the process does not listen yet
                self.socket.connect(str(address))
                return
            if self.process is not None and self.process.poll() is not None:
                raise self._exit_error()
            time.sleep(0.02)
        raise SamplerError(f"vLLM's process did not respond within {CONNECT_SECONDS:.0f} s; see {self.log}")

    def _exit_error(self) -> SamplerError:
        """The error for a process that has exited, with its status if this process has started it."""
        status = ""
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                status = f" with status {self.process.wait(timeout=EXIT_SECONDS)}"
        last = self.log.read_text(errors="replace").strip().splitlines()[-5:] if self.log.exists() else []
        output = f" Last lines of its log: {' | '.join(last)}." if last else ""
        return SamplerError(
            f"the vLLM process exited{status}.{output} The newest checkpoint is kept: run the same command again to "
            "continue. If it ran out of memory, lower hardware.vllm.memory or hardware.vllm.cpu_cache_gib"
        )


def launch(address: Path, clients: int, gpus: Sequence[int], log: Path) -> subprocess.Popen[bytes]:
    """Start the worker in a new session, so that Ctrl-C does not reach it; `gpus` index the devices visible here."""
    env = {
        name: value for name, value in os.environ.items() if name not in NOT_INHERITED and "TORCHELASTIC" not in name
    }
    env = {**ENVIRONMENT, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(torch.get_num_threads()), **env}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (ROOT, env.get("PYTHONPATH"))))
    if gpus:
        env["CUDA_VISIBLE_DEVICES"] = visible_devices(env.get("CUDA_VISIBLE_DEVICES"), gpus)
    command = [sys.executable, "-P", "-m", "align_lab.rollout.vllm_worker", str(address), str(clients)]
    with log.open("ab") as out:
        return subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


def visible_devices(current: str | None, gpus: Sequence[int]) -> str:
    """The value of CUDA_VISIBLE_DEVICES that selects `gpus` among the devices that its current value makes visible."""
    names = current.split(",") if current else None
    return ",".join(names[gpu] if names else str(gpu) for gpu in gpus)
