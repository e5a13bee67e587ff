"""The tasks of a sweep as processes of this machine: at most `parallel` at a time, stages before their runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from align_lab.base.signals import StopRequest
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.plan import JobArray, Task
from align_lab.dispatch.snapshot import of_runs
from align_lab.dispatch.submit import start_local
from align_lab.stages.store import Store

TICK_SECONDS = 0.2


class LocalPool:
    """Keeps `parallel` processes busy until all tasks have ended. A failure stops only the tasks that depend on it."""

    def __init__(
        self, ledger: Ledger, store: Store, tasks: Sequence[Task], *, parallel: int, stop: StopRequest
    ) -> None:
        self.ledger, self.store, self.parallel, self.stop = ledger, store, parallel, stop
        self.waiting = list(tasks)
        self.running: dict[str, Any] = {}
        self.code, self.digest = of_runs([task.cfg for task in tasks])
        self.devices = visible_gpus()
        self.taken: dict[str, list[str]] = {}  # the GPUs of each task that has started

    def run(self, *, on_tick: Callable[[], object]) -> None:
        """Returns when no process is left. After a stop request nothing new starts, and the running tasks save."""
        terminated = False
        while self.running or (self.waiting and not self.stop.asked):
            self.running = {name: job for name, job in self.running.items() if job._process.poll() is None}
            self._start_ready_tasks()
            if self.stop.asked and not terminated:
                terminated = True
                for job in self.running.values():
                    job._process.send_signal(signal.SIGTERM)
            on_tick()
            time.sleep(TICK_SECONDS)

    def _start_ready_tasks(self) -> None:
        for task in list(self.waiting):
            unbuilt = [stage for stage in task.needs if not self.store.has(stage)]
            upcoming = {*self.running, *(other.name for other in self.waiting)}
            if self.stop.asked or any(stage in upcoming for stage in unbuilt):
                continue
            if not unbuilt and len(self.running) >= self.parallel:
                return
            self.waiting.remove(task)
            submission = self.ledger.record(task.cfg.study, JobArray(tasks=(task,)), code=self.code, digest=self.digest)
            if not unbuilt:  # otherwise its stage has failed, and `status` derives that from the recorded submission
                self.running[task.name] = self._start(task, submission)

    def _start(self, task: Task, submission: Submission) -> Any:
        gpus = self.taken[task.name] = self._gpus(task.placement.gpus_per_node)
        sharing = -(-self.parallel * len(gpus) // len(self.devices)) if gpus else self.parallel
        return start_local(self.ledger, submission, gpus=gpus, sharing=sharing)

    def _gpus(self, count: int) -> list[str]:
        """Devices for the next process: those that the fewest running tasks use, in their order. Empty where it needs
        none, or this machine's are not known."""
        users = Counter(gpu for name in self.running for gpu in self.taken[name])
        return sorted(self.devices, key=lambda gpu: users[gpu])[:count]


def visible_gpus() -> list[str]:
    """The devices that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True)
    return answer.stdout.split() if answer.returncode == 0 else []
