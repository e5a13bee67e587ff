"""Starting a job by submitit: on a cluster, as a process of this machine, or in this process."""

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
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.plan import JobArray, Task, payload

Refused = FailedJobError  # submitit raises it when sbatch fails
NO_LIMIT = 366 * 24 * 60  # minutes: a process of this machine has no time limit, and submitit wants one


def command(tasks: Path, submission: Submission, *, python: str | None = None, env: Sequence[str] = ()) -> str:
    """The command of a job: the snapshot's code (-P keeps the working folder out of sys.path) on its tasks file."""
    path = os.pathsep.join(filter(None, (submission.snapshot, os.environ.get("PYTHONPATH"))))
    words = ["env", *env, f"PYTHONPATH={path}", python or sys.executable, "-u", "-P", "-m", "align_lab.dispatch.job"]
    return shlex.join([*words, str(tasks.resolve()), submission.snapshot, submission.snapshot_hash])


def submit_slurm(ledger: Ledger, submission: Submission, batch: JobArray, *, after: Sequence[str]) -> Submission:
    """One sbatch, for a job or an array. `after`: ids of the jobs that must succeed first."""
    executor = _SlurmExecutor(ledger, submission, batch, after)
    return ledger.confirm(submission, executor.start().job_id)


def script(ledger: Ledger, submission: Submission, batch: JobArray, *, after: Sequence[str]) -> str:
    """The sbatch script as it would be submitted."""
    executor = _SlurmExecutor(ledger, submission, batch, after)
    return executor._make_submission_file_text(executor._command, "")


class _SlurmExecutor(submitit.SlurmExecutor):
    """submitit's executor with our own command: a job reads its line of the tasks file, and nothing is pickled."""

    def __init__(self, ledger: Ledger, submission: Submission, batch: JobArray, after: Sequence[str]) -> None:
        super().__init__(ledger.logs)
        self._command = command(ledger.tasks_file(submission), submission, python=batch.placement.python)
        self.update_parameters(**parameters(batch.placement, name=submission.job_name, after=after))
        if submission.array:
            self.parameters["map_count"] = len(submission.names)

    @classmethod
    def affinity(cls) -> int:
        """submitit's check for Slurm, passed always: launch has checked, and a dry run prints scripts anywhere."""
        return 2

    def start(self) -> submitit.Job[Any]:
        """Run sbatch. Raises Refused."""
        return self._submit_command(self._command)


def parameters(place: Placement, *, name: str, after: Sequence[str] = ()) -> dict[str, Any]:
    """A placement in submitit's parameters."""
    values = {
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
        "srun_args": [  # srun neither inherits cores from sbatch nor ends the job when one process dies
            f"--cpus-per-task={place.cpus_per_task}",
            "--kill-on-bad-exit=1",
            *([f"--container-image={place.container}"] if place.container else []),
        ],
        "dependency": f"afterok:{':'.join(after)}" if after else None,
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True, "kill-on-invalid-dep": "yes", **_flags(place.sbatch)},
    }
    return {key: value for key, value in values.items() if value is not None} | {"wckey": None}


def _flags(lines: Sequence[str]) -> dict[str, Any]:
    parts = (line.lstrip("-").partition("=") for line in lines)
    return {key: value if sign else True for key, sign, value in parts}


def start_local(
    ledger: Ledger, submission: Submission, *, gpus: Sequence[str] = (), sharing: int = 1
) -> submitit.Job[Any]:
    """One process of this machine, under submitit's controller. It sees `gpus`, or the GPUs of this process.

    `sharing`: runs that compute at the same time, and so share cores and memory.
    """
    visible = ",".join(gpus) or os.environ.get("CUDA_VISIBLE_DEVICES")  # the controller would hide them
    env = ["-u", "CUDA_VISIBLE_DEVICES"] if visible is None else [f"CUDA_VISIBLE_DEVICES={visible}"]
    env.append(f"{SHARED}={sharing}")
    executor = submitit.LocalExecutor(ledger.logs)
    executor.update_parameters(timeout_min=NO_LIMIT, stderr_to_stdout=True)
    with deaf_to_interrupts():  # Ctrl-C would kill the controller, and its run could not save
        job = executor._submit_command(command(ledger.tasks_file(submission), submission, env=env))
    ledger.confirm(submission, job.job_id)
    return job


def run_in_process(task: Task) -> int:
    """Run a task under submitit's debug executor, in which breakpoints work and an error opens the debugger."""
    from align_lab.dispatch.job import perform

    job = submitit.DebugExecutor(runs_folder()).submit(perform, {**payload(task), "max_requeues": 0})
    return int(job.result())
