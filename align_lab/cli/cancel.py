"""`python -m align_lab cancel STUDY`: cancel its queued and running jobs, on Slurm and on this machine."""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from align_lab.base import lease
from align_lab.compare.runs import study_folder
from align_lab.dispatch import expected_runs, slurm
from align_lab.dispatch.launch import current_states
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.state_rules import ACTIVE
from align_lab.dispatch.states import TaskState
from align_lab.record.layout import RunLayout, StudyLayout


def cancel(args: Sequence[str]) -> int:
    """Finished runs and checkpoints stay: the command that started the study continues from them."""
    parser = argparse.ArgumentParser(
        prog="python -m align_lab cancel",
        description="Cancel the queued and running jobs of a study. Finished runs and checkpoints stay.",
    )
    parser.add_argument("study", metavar="STUDY", help="name of a folder under runs/, or a path")
    parser.add_argument("--removed", action="store_true", help="only runs that are no longer in the sweep file")
    options = parser.parse_args(args)
    folder, console = study_folder(options.study), Console(highlight=False, soft_wrap=True)
    tasks = [task for task in current_states(folder) if task.state in ACTIVE]
    if options.removed:
        removed = expected_runs.read(folder)["left"]
        tasks = [task for task in tasks if task.name in removed]
    cancelled = _cancel_jobs(folder, tasks)
    cancelled += _stop_processes(folder, [task for task in tasks if task not in cancelled], console)
    remark = "" if tasks else ", none was queued or running"
    console.print(f"{escape(folder.name)}: {len(cancelled)} of its jobs cancelled{remark}")
    for task in cancelled:
        console.print(f"  {escape(task.name)}")
    return 0


def _cancel_jobs(folder: Path, tasks: Sequence[TaskState]) -> list[TaskState]:
    """Cancel what Slurm has of the tasks. A stage that jobs of other studies depend on stays."""
    ledger = Ledger.of(folder)
    submissions = [submission for submission in ledger.submissions() if submission.executor == "slurm"]
    job_ids = {job for submission in submissions for job in submission.ids().values()}
    on_slurm = [task for task in tasks if task.job in job_ids]
    ledger.mark_cancelled([task.job for task in on_slurm])
    slurm.cancel(_whole_arrays(_jobs(on_slurm, "run"), submissions))
    if stages := _jobs(on_slurm, "stage"):
        slurm.cancel(sorted(set(stages) - slurm.dependencies()))
    return on_slurm


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
    with suppress(OSError, ValueError, KeyError):
        owner = json.loads(lease_file.read_text())
        if owner["where"] == lease.where() and not lease.stale(lease_file):
            os.kill(owner["pid"], signal.SIGTERM)
            return True
    return False
