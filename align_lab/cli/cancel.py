"""`align_lab cancel STUDY`: cancel its queued and running jobs, on Slurm and on this machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from align_lab.base import answer, lease
from align_lab.cli.arguments import Arguments
from align_lab.compare.runs import study_folder
from align_lab.dispatch import expected_runs, rest, slurm
from align_lab.dispatch.cluster import cluster_of
from align_lab.dispatch.launch import current_states
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.slurm_commands import on
from align_lab.dispatch.state_rules import ACTIVE
from align_lab.dispatch.states import TaskState
from align_lab.record.layout import RunLayout, StudyLayout
from align_lab.record.terminal import Terminal, escape

LISTED = 20  # names
LOOK_SECONDS = 40.0  # a look that is submitting seeds has ended by then: Slurm kills it


def cancel(args: Sequence[str]) -> int:
    """Finished runs and checkpoints stay: the command that started the study continues from them."""
    parser = Arguments(
        prog="align_lab cancel",
        description="Cancel the queued and running jobs of a study. Finished runs and checkpoints stay.",
    )
    parser.add_argument("study", metavar="STUDY", help="name of a folder under runs/, or a path")
    parser.add_argument("--removed", action="store_true", help="only runs that are no longer in the sweep file")
    options = parser.parse_args(args)
    folder, console = study_folder(options.study), Terminal(soft_wrap=True)
    with on(cluster_of(Ledger.of(folder).submissions())):
        cancelled = [] if options.removed else _cancel_looks(folder)
        _forget_what_waits(folder, removed=options.removed)
        tasks = [task for task in current_states(folder) if task.state in ACTIVE and task.kind != "look"]
        if options.removed:
            removed = expected_runs.read(folder)["left"]
            tasks = [task for task in tasks if task.name in removed]
        cancelled += _cancel_jobs(folder, tasks)
    cancelled += _stop_processes(folder, [task for task in tasks if task not in cancelled], console)
    answer.give({"study": folder.name, "cancelled": [task.name for task in cancelled]})
    remark = "" if tasks or cancelled else f", none was queued or running{_of_its_trials(folder)}"
    console.print(f"{escape(folder.name)}: {len(cancelled)} of its jobs cancelled{remark}")
    for task in cancelled[:LISTED]:
        console.print(f"  {escape(task.name)}")
    if len(cancelled) > LISTED:
        console.print(f"  and {len(cancelled) - LISTED} more")
    return 0


def _of_its_trials(folder: Path) -> str:
    """What to type where the trials that tune the study are what runs: they are a study of their own."""
    trials = StudyLayout(folder).trials
    if not trials.is_dir() or not any(task.state in ACTIVE for task in current_states(trials)):
        return ""
    return f". It is being tuned: align_lab cancel {escape(trials.name)}"


def _cancel_looks(folder: Path) -> list[TaskState]:
    """Before the runs that they wait for: a look whose runs end would submit more."""
    looks = [task for task in current_states(folder) if task.kind == "look" and task.state in ACTIVE and task.job]
    if looks:
        Ledger.of(folder).mark_cancelled([task.job for task in looks])
        slurm.cancel(_named([task.job for task in looks], Ledger.of(folder).submissions()))
    end = time.monotonic() + LOOK_SECONDS
    while any(task.state == "running" for task in looks) and lease.live(StudyLayout(folder).looks_lease):
        if time.monotonic() > end:
            break
        time.sleep(0.5)
    return looks


def _forget_what_waits(folder: Path, *, removed: bool) -> None:
    """What waits for room in the queue is not submitted any more. A job that is just submitting some ends first."""
    end = time.monotonic() + LOOK_SECONDS
    while rest.names(folder) and lease.live(StudyLayout(folder).lease) and time.monotonic() < end:
        time.sleep(0.5)
    rest.forget(folder, expected_runs.read(folder)["left"] if removed else None)


def _cancel_jobs(folder: Path, tasks: Sequence[TaskState]) -> list[TaskState]:
    """Cancel what Slurm has of the tasks. A stage that jobs of other studies depend on stays."""
    ledger = Ledger.of(folder)
    submissions = [submission for submission in ledger.submissions() if submission.executor == "slurm"]
    job_ids = {job for submission in submissions for job in submission.ids().values()}
    on_slurm = [task for task in tasks if task.job in job_ids]
    if on_slurm:
        ledger.mark_cancelled([task.job for task in on_slurm])
    slurm.cancel(_named(_whole_arrays(_jobs(on_slurm, "run"), submissions), submissions))
    stages = _jobs(on_slurm, "stage")
    needed = slurm.dependencies() & {*stages} if stages else set[str]()
    slurm.cancel(_named(sorted({*stages} - needed), submissions))
    return [task for task in on_slurm if task.job not in needed]


def _named(jobs: Sequence[str], submissions: Sequence[Submission]) -> dict[str, str]:
    """Job id -> the name that the job was given."""
    names = {job: each.job_name for each in submissions for job in (each.job_id, *each.ids().values()) if job}
    return {job: names[job] for job in jobs}


def _jobs(tasks: Sequence[TaskState], kind: str) -> list[str]:
    return [task.job for task in tasks if task.kind == kind]


def _whole_arrays(jobs: Sequence[str], submissions: Sequence[Submission]) -> list[str]:
    """The job ids, with an array's own id in place of all its tasks where all are to be cancelled."""
    arrays = {each.job_id for each in submissions if each.array and each.job_id and {*each.ids().values()} <= {*jobs}}
    return [*arrays, *(job for job in jobs if job.partition("_")[0] not in arrays)]


def _stop_processes(folder: Path, tasks: Sequence[TaskState], console: Console) -> list[TaskState]:
    """SIGTERM to the command that runs the sweep here, which stops all of its runs; without one, to each run."""
    if tasks and _terminate_owner(StudyLayout(folder).lease):
        return list(tasks)
    stopped = [task for task in tasks if _terminate_owner(RunLayout(folder / task.name).lease)]
    for task in tasks:
        if task not in stopped:
            console.print(f"[yellow]{escape(task.name)} runs on {escape(task.node)}: cancel it there[/]")
    return stopped


def _terminate_owner(lease_file: Path) -> bool:
    """SIGTERM to the process of this machine that holds the lease; False where there is none."""
    process = lease.local_process(lease_file)
    if process is None:
        return False
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, signal.SIGTERM)
        return True
    return False
