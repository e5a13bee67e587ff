"""Runs of a sweep as processes of this machine: some at a time, stages before what needs them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from align_lab.base.signals import StopRequest
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.plan import JobArray, Task
from align_lab.dispatch.snapshot import take
from align_lab.dispatch.submit import start_local
from align_lab.stages.store import Store

TICK_SECONDS = 0.2


class LocalPool:
    """Keeps `parallel` processes busy until all tasks have ended. One that fails stops only what needs it."""

    def __init__(
        self, ledger: Ledger, store: Store, tasks: Sequence[Task], *, parallel: int, stop: StopRequest
    ) -> None:
        self.ledger, self.store, self.parallel, self.stop = ledger, store, parallel, stop
        self.waiting = list(tasks)
        self.running: dict[str, Any] = {}
        self.code, self.digest = take(task.cfg["plugins"] for task in tasks)
        self.devices, self.started = visible_gpus(), 0

    def run(self, *, on_tick: Callable[[], object]) -> None:
        """Returns when nothing runs any more. When a stop is asked for, nothing new starts and what runs saves first."""
        told = False
        while self.running or (self.waiting and not self.stop.asked):
            self.running = {name: job for name, job in self.running.items() if job._process.poll() is None}
            self._start_what_can()
            if self.stop.asked and not told:
                told = True
                for job in self.running.values():
                    job._process.send_signal(signal.SIGTERM)
            on_tick()
            time.sleep(TICK_SECONDS)

    def _start_what_can(self) -> None:
        for task in list(self.waiting):
            unbuilt = [need for need in task.needs if not self.store.has(need)]
            coming = {*self.running, *(other.name for other in self.waiting)}
            if self.stop.asked or any(need in coming for need in unbuilt):
                continue
            if not unbuilt and len(self.running) >= self.parallel:
                return
            self.waiting.remove(task)
            card = self.ledger.intend(
                str(task.cfg["study"]), JobArray(tasks=(task,)), code=self.code, digest=self.digest
            )
            if not unbuilt:  # otherwise its stage has failed: the card says what it waited for, and so does its status
                gpus = self._gpus(task.placement.gpus_per_node)
                sharing = -(-self.parallel * len(gpus) // len(self.devices)) if gpus else self.parallel
                _, self.running[task.name] = start_local(self.ledger, card, gpus=gpus, sharing=sharing)

    def _gpus(self, wanted: int) -> list[str]:
        """Devices for one more process, those first that no other uses; empty where none is asked for, or none is known."""
        if not wanted or not self.devices:
            return []
        first = self.started * wanted % len(self.devices)
        self.started += 1
        return [self.devices[(first + k) % len(self.devices)] for k in range(min(wanted, len(self.devices)))]


def visible_gpus() -> list[str]:
    """The devices that this process may use, by their names in CUDA_VISIBLE_DEVICES."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True
    )
    return listed.stdout.split() if listed.returncode == 0 else []
