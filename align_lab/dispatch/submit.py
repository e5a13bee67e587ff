"""Starting a job by submitit: on a cluster, as a process of this machine, or in this process."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import submitit

from align_lab.base import job_script
from align_lab.base.errors import ConfigError
from align_lab.base.files import write_text
from align_lab.base.hardware import SHARED
from align_lab.base.paths import runs_folder
from align_lab.base.signals import deaf_to_interrupts
from align_lab.dispatch import broken_nodes, container, slurm
from align_lab.dispatch.batch_script import lines_around, parameters, variables_of_sbatch
from align_lab.dispatch.job_variables import BEGAN, ENDS
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.plan import PROGRAM, JobArray, Task, payload
from align_lab.dispatch.slurm_commands import SlurmAway, SlurmError

Condition = Literal["afterok", "afterany"]  # the jobs that a job depends on have succeeded, or have ended
OF_ONE_JOB = (BEGAN, ENDS, SHARED)  # a job that submits jobs has its own
NO_LIMIT = 366 * 24 * 60  # minutes: a process of this machine has no time limit, and submitit wants one


class Refused(SlurmError):
    """The cluster did not take a job."""


def command(
    tasks: Path,
    submission: Submission,
    *,
    program: str = PROGRAM,
    python: str | None = None,
    env: Sequence[str] = (),
    before: Sequence[str] = (),
) -> str:
    """The command of a job: the snapshot's code (-P keeps the working folder out of sys.path) on its tasks file.

    `before`: the words that come first, for example of the program that opens a container.
    """
    path = os.pathsep.join(filter(None, (submission.snapshot, os.environ.get("PYTHONPATH"))))
    words = [*before, "env", *env, f"PYTHONPATH={path}", python or sys.executable, "-u", "-P", "-m", program]
    return shlex.join([*words, str(tasks.resolve()), submission.snapshot, submission.snapshot_hash])


def submit_slurm(
    ledger: Ledger,
    submission: Submission,
    batch: JobArray,
    *,
    after: Sequence[str],
    condition: Condition = "afterok",
    behind: Sequence[str] = (),
) -> Submission:
    """One sbatch, for a job or an array. `after`: ids of the jobs that must succeed, or end, first; `behind`: of those
    that must end first. Nodes on which jobs of the study could not begin are avoided. Raises Refused.
    """
    name = f"{submission.names[0]}{' and others' if submission.array else ''}"
    try:
        waits_for = dependency(condition, after, behind)
        job_id = _SlurmExecutor(ledger, submission, _as_submitted(ledger, batch), waits_for).start()
    except SlurmAway as error:
        raise Refused(f"it is not known whether Slurm took {name}, and the next command looks: {error}") from error
    except ConfigError as error:  # the user's script is gone since it was checked
        ledger.discard(submission)
        raise Refused(f"{name} cannot be submitted: {error}") from error
    except SlurmError as error:
        ledger.discard(submission)
        raise Refused(f"sbatch refused {name}: {''.join(str(error).strip().splitlines()[-1:])}") from error
    return ledger.confirm(submission, job_id)


def script(
    ledger: Ledger, submission: Submission, batch: JobArray, *, after: Sequence[str], behind: Sequence[str] = ()
) -> str:
    """The sbatch script as it would be submitted."""
    waits_for = dependency("afterok", after, behind)
    executor = _SlurmExecutor(ledger, submission, _as_submitted(ledger, batch), waits_for)
    return executor._make_submission_file_text(executor._command, "")


def _as_submitted(ledger: Ledger, batch: JobArray) -> JobArray:
    """With the flags of the user's script, and away from nodes on which jobs of the study could not begin."""
    batch = batch.placed(sbatch=[*job_script.read(batch.placement.script).flags, *batch.placement.sbatch])
    avoided = broken_nodes.avoided(ledger.folder.parent, batch.placement)
    return batch.placed(exclude=[*batch.placement.exclude, *avoided]) if avoided else batch


def dependency(condition: Condition, after: Sequence[str], behind: Sequence[str] = ()) -> str | None:
    """What sbatch calls a dependency; None where there is none."""
    parts = {condition: [*after], "afterany": [*(after if condition == "afterany" else ()), *behind]}
    return ",".join(f"{name}:{':'.join(jobs)}" for name, jobs in parts.items() if jobs) or None


class _SlurmExecutor(submitit.SlurmExecutor):
    """submitit's executor with our own command: a job reads its line of the tasks file, and nothing is pickled."""

    def __init__(self, ledger: Ledger, submission: Submission, batch: JobArray, dependency: str | None) -> None:
        super().__init__(ledger.logs)
        self._logs, self._submission, self._place = ledger.logs, submission, batch.placement
        tasks, place = ledger.tasks_file(submission), batch.placement
        self._command = command(
            tasks,
            submission,
            program=batch.program,
            python=place.python,
            env=passed_on(),
            before=container.words_before(place),
        )
        self.update_parameters(**parameters(place, name=submission.job_name, dependency=dependency))
        self.update_parameters(**lines_around(place, folder=ledger.folder.resolve(), token=submission.token))
        if submission.array:
            self.parameters["map_count"] = len(submission.names)

    @classmethod
    def affinity(cls) -> int:
        """submitit's check for Slurm, passed always: launch has checked, and a dry run prints scripts anywhere."""
        return 2

    def start(self) -> str:
        """Run sbatch. Returns the id of the job; raises SlurmError, and SlurmAway where it may have been taken."""
        script = self._logs / f"{self._submission.token}.sh"
        write_text(script, self._make_submission_file_text(self._command, ""))
        variables = variables_of_sbatch(os.environ, self._place)
        return slurm.sbatch(script, job_name=self._submission.job_name, env=variables)


def passed_on() -> list[str]:
    """Variables that a job needs even where sbatch was told not to pass on the environment."""
    ours = [key for key in sorted(os.environ) if key.startswith("ALIGN_LAB_") and key not in OF_ONE_JOB]
    return ["SUBMITIT_EXECUTOR=slurm", *(f"{key}={os.environ[key]}" for key in ours)]


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
