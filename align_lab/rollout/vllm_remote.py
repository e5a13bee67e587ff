"""vLLM in a process of its own, as this process sees it: started, asked through a socket, and missed when it dies."""

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
from align_lab.rollout.vllm_engine import QUIET, Completions, Request, VllmSettings

ROOT = str(Path(__file__).parents[2])  # what our own code is imported from, a snapshot for example
NOT_OURS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
CONNECT_SECONDS = 120.0  # an interpreter that imports torch on a busy machine


class Remote:
    """One vLLM process, of which this process is one of `clients`; the one that `starts` it also ends it."""

    def __init__(
        self, plan: VllmSettings, *, address: Path, starts: bool, clients: int = 1, gpus: Sequence[int] = ()
    ) -> None:
        self.log = address.with_suffix(".log")
        self.process = launch(address, clients, gpus, self.log) if starts else None
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self._connect(address)
            self._ask("start", asdict(plan))
        except SamplerError:
            self.close()
            raise

    def load(self, weights: Mapping[str, Tensor] | Path) -> None:
        """From a folder that both processes see."""
        self._ask("load", {"folder": str(weights)})

    def complete(self, request: Request) -> Completions:
        fields = {name: getattr(request, name) for name in ("new", "temperature", "top_p", "eos")}
        flat = [token for ids in request.prompts for token in ids]
        tensors = {
            "prompts": torch.tensor(flat, dtype=torch.int64, device="cpu"),
            "lengths": torch.tensor([len(ids) for ids in request.prompts], dtype=torch.int64, device="cpu"),
            "seeds": torch.tensor(request.seeds, dtype=torch.int64, device="cpu"),
        }
        return Completions(**self._ask("complete", fields, tensors))

    def sleep(self) -> None:
        self._ask("sleep", {})

    def close(self) -> None:
        """It ends when its clients are gone; one that does not is ended."""
        self.socket.close()
        if self.process is not None:
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _ask(self, what: str, fields: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> Any:
        try:
            wire.send(self.socket, {"do": what, **fields}, tensors)
            said, answer = wire.receive(self.socket)
        except (EOFError, OSError) as error:
            raise self._died() from error
        if "error" in said:
            raise SamplerError(said["error"])
        return answer

    def _connect(self, address: Path) -> None:
        until = time.monotonic() + CONNECT_SECONDS
        while time.monotonic() < until:
            with suppress(OSError):  # not there yet
                self.socket.connect(str(address))
                return
            if self.process is not None and self.process.poll() is not None:
                raise self._died()
            time.sleep(0.02)
        raise SamplerError(f"vLLM's process has not answered within {CONNECT_SECONDS:.0f} s; see {self.log}")

    def _died(self) -> SamplerError:
        """How it ended, where this process can know."""
        status = ""
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                status = f" with status {self.process.wait(timeout=5)}"
        last = self.log.read_text(errors="replace").strip().splitlines()[-5:] if self.log.exists() else []
        said = f" Its last words: {' | '.join(last)}" if last else ""
        return SamplerError(
            f"the process of vLLM has ended{status}.{said} What was learned until then is saved: run the same command "
            "again to continue. If it was out of memory, lower hardware.vllm.memory or hardware.vllm.cpu_cache_gib"
        )


def launch(address: Path, clients: int, gpus: Sequence[int], log: Path) -> subprocess.Popen[bytes]:
    """Start the worker in a session of its own, so that Ctrl-C reaches the run alone. `gpus` count among those that this process sees."""
    env = {name: value for name, value in os.environ.items() if name not in NOT_OURS and "TORCHELASTIC" not in name}
    env = {**QUIET, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(torch.get_num_threads()), **env}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (ROOT, env.get("PYTHONPATH"))))
    if gpus:
        env["CUDA_VISIBLE_DEVICES"] = visible(env.get("CUDA_VISIBLE_DEVICES"), gpus)
    words = [sys.executable, "-P", "-m", "align_lab.rollout.vllm_worker", str(address), str(clients)]
    with log.open("ab") as out:
        return subprocess.Popen(
            words, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


def visible(names: str | None, gpus: Sequence[int]) -> str:
    """CUDA_VISIBLE_DEVICES for these of the devices that are visible under the present value."""
    known = names.split(",") if names else None
    return ",".join(known[gpu] if known else str(gpu) for gpu in gpus)
