"""The one way to start a job, on submitit: the same command on a cluster, on this machine, or in this process."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError

from align_lab.base.hardware import SHARED, Placement
from align_lab.base.paths import runs_folder
from align_lab.base.signals import deaf_to_interrupts
from align_lab.dispatch.ledger import Card, Ledger
from align_lab.dispatch.plan import JobArray, Task, payload

Refused = FailedJobError  # what submitit makes of an sbatch that ends with an error
FOREVER = 366 * 24 * 60  # minutes; a process of this machine has no time limit


def command(tasks: Path, card: Card, *, python: str | None = None, env: Sequence[str] = ()) -> str:
    """What a job runs: the snapshot's code (-P keeps the working folder out of sys.path), on its line of the tasks."""
    path = os.pathsep.join(filter(None, (card.snapshot, os.environ.get("PYTHONPATH"))))
    words = ["env", *env, f"PYTHONPATH={path}", python or sys.executable, "-u", "-P", "-m", "align_lab.dispatch.job"]
    return shlex.join([*words, str(tasks.resolve()), card.snapshot, card.snapshot_hash])


def submit_slurm(ledger: Ledger, card: Card, batch: JobArray, *, after: Sequence[str]) -> Card:
    """One sbatch: a job or an array. `after`: ids of the jobs that must have succeeded first."""
    executor = _Slurm(ledger.logs, ledger, card, batch, after)
    return ledger.confirm(card, executor.start().job_id)


def script(ledger: Ledger, card: Card, batch: JobArray, *, after: Sequence[str]) -> str:
    """The sbatch script as it would be submitted."""
    executor = _Slurm(ledger.logs, ledger, card, batch, after)
    return executor._make_submission_file_text(executor._command, "")


class _Slurm(submitit.SlurmExecutor):
    """submitit's executor with our own command: a job reads its line of the tasks, and nothing is pickled."""

    def __init__(self, folder: Path, ledger: Ledger, card: Card, batch: JobArray, after: Sequence[str]) -> None:
        super().__init__(folder)
        self._command = command(ledger.tasks_file(card), card, python=batch.placement.python)
        self.update_parameters(**parameters(batch.placement, name=card.job_name, after=after))
        if card.array:
            self.parameters["map_count"] = len(card.names)

    @classmethod
    def affinity(cls) -> int:
        return 2  # whether Slurm is here was asked before; a dry run prints scripts anywhere

    def start(self) -> submitit.Job[Any]:
        return self._submit_command(self._command)


def parameters(place: Placement, *, name: str, after: Sequence[str] = ()) -> dict[str, Any]:
    """Placement -> what submitit calls it."""
    wanted = {
        "job_name": name,
        "nodes": place.nodes,
        "ntasks_per_node": place.tasks_per_node,
        "cpus_per_task": place.cpus_per_task,
        "gpus_per_node": place.gpus_per_node or None,
        "mem": f"{round(place.mem_gb * 1024)}M" if place.mem_gb else None,
        "time": place.minutes,
        "partition": place.partition,
        "account": place.account,
        "qos": place.qos,
        "constraint": place.constraint,
        "signal_delay_s": place.signal_seconds,
        "array_parallelism": place.max_parallel or 1_000_000,
        "setup": list(place.setup) or None,
        "srun_args": [  # srun takes no cores over from sbatch, and lets the other processes wait for one that died
            f"--cpus-per-task={place.cpus_per_task}",
            "--kill-on-bad-exit=1",
            *([f"--container-image={place.container}"] if place.container else []),
        ],
        "dependency": f"afterok:{':'.join(after)}" if after else None,
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True, "kill-on-invalid-dep": "yes", **_flags(place.sbatch)},
    }
    return {key: value for key, value in wanted.items() if value is not None} | {"wckey": None}


def _flags(lines: Sequence[str]) -> dict[str, Any]:
    parts = (line.lstrip("-").partition("=") for line in lines)
    return {key: value if sign else True for key, sign, value in parts}


def start_local(
    ledger: Ledger, card: Card, *, gpus: Sequence[str] = (), sharing: int = 1
) -> tuple[Card, submitit.Job[Any]]:
    """One process of this machine, under submitit's controller, which would hide the GPUs. It sees `gpus`, or what we see.

    `sharing`: runs that compute side by side, and so share cores and memory.
    """
    seen = ",".join(gpus) or os.environ.get("CUDA_VISIBLE_DEVICES")
    env = ["-u", "CUDA_VISIBLE_DEVICES"] if seen is None else [f"CUDA_VISIBLE_DEVICES={seen}"]
    env.append(f"{SHARED}={sharing}")
    executor = submitit.LocalExecutor(ledger.logs)
    executor.update_parameters(timeout_min=FOREVER, stderr_to_stdout=True)
    with deaf_to_interrupts():  # a controller that dies of it would not let its run save
        job = executor._submit_command(command(ledger.tasks_file(card), card, env=env))
    return ledger.confirm(card, job.job_id), job


def run_here(task: Task) -> int:
    """In this process, under submitit's debug executor: a breakpoint works, an error opens the debugger."""
    from align_lab.dispatch.job import perform

    job = submitit.DebugExecutor(runs_folder()).submit(perform, {**payload(task), "max_requeues": 0})
    return int(job.result())
