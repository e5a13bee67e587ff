"""A job of a study that ends submits what had not fitted into the queue.

    python -P -m align_lab.dispatch.top_up STUDY JOB

While it does so it still counts itself, so the last job of a study tries for a while, and the others make room.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from align_lab.base import registry
from align_lab.base.errors import AlignLabError, ConfigError
from align_lab.base.paths import runs_folder
from align_lab.dispatch import parallel, rest, slurm
from align_lab.dispatch.launch import current_states, exclusively
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.plan import JobArray, job_arrays
from align_lab.dispatch.queue_limit import QueueIsFull, as_many_as_fit
from align_lab.dispatch.reconcile import publish_jobs, queued_stages
from align_lab.dispatch.slurm_commands import outside_of_job
from align_lab.dispatch.state_rules import ACTIVE
from align_lab.dispatch.submit import submit_slurm
from align_lab.stages.store import shared

PATIENCE, PAUSE = 180.0, 5.0  # seconds that the last job of a study tries, and between two attempts


def top_up(study: str, job: str, *, patience: float = PATIENCE) -> None:
    """Called by the job of a study that is about to end. Prints what it did, or why it could not."""
    registry.scan()
    try:
        with outside_of_job():
            for line in _attempts(runs_folder() / study, job, patience):
                print(line, flush=True)
    except (AlignLabError, OSError) as error:
        print(f"what is left of the study was not submitted: {error}. Its command, typed again, submits it", flush=True)


def _attempts(folder: Path, job: str, patience: float) -> Iterator[str]:
    """Submit until nothing is left, another job of the study is there to go on, or the patience is over."""
    end = time.monotonic() + patience
    while rest.names(folder):
        with suppress(ConfigError), exclusively(folder):  # one at a time, so that not all leave it to each other
            if count := _submit(folder):
                yield f"submitted {count} of the jobs that had not fitted into the queue"
            if _others(folder, job):
                rest.give_up(folder, job)
                return
        if time.monotonic() > end:
            yield "the queue has no room for what is left of the study. Its command, typed again, submits it"
            return
        time.sleep(PAUSE if rest.names(folder) else 0)


def _others(folder: Path, job: str) -> set[str]:
    """The study's other jobs that are in the queue and will submit something when they end."""
    waiting = rest.read(folder)
    jobs = slurm.query(slurm.names_of(Ledger.of(folder).submissions()))
    return {one for one, info in jobs.items() if info.live} - {job} - set(waiting.gone if waiting else ())


def _submit(folder: Path) -> int:
    """Submit as many as fit. Returns their number. Raises Refused for another reason than the queue's limit."""
    now = current_states(folder)
    there = {task.name for task in now if task.state == "done" or (task.state in ACTIVE and task.job)}
    waiting, store, ledger, count = rest.read(folder), shared(), Ledger.of(folder), 0
    if waiting is None:
        return 0
    tasks = [task for task in waiting.tasks if task.name not in there and not store.has(task.name)]
    stage_jobs = queued_stages({name for task in tasks for name in task.needs if not store.has(name)}, store)

    def submit(batch: JobArray) -> Submission:
        drafted = ledger.record(folder.name, batch, code=waiting.code, digest=waiting.digest)
        after = [stage_jobs[name] for name in batch.needs if name in stage_jobs]
        with parallel.placed(folder, drafted, batch, left=next(left)) as (limited, behind):
            return submit_slurm(ledger, drafted, limited, after=after, behind=behind)

    batches = job_arrays(tasks, max_size=slurm.max_array_size())
    left, too_many = parallel.to_come(batches), tuple[JobArray, ...]()
    try:
        for submission in as_many_as_fit(batches, submit):
            count += len(submission.names)
            if submission.kind == "stage":
                stage_jobs |= submission.ids()
                publish_jobs(store, submission)
    except QueueIsFull as full:
        too_many = full.left
    rest.keep(folder, too_many, code=waiting.code, digest=waiting.digest, gone=waiting.gone)
    return count


if __name__ == "__main__":
    top_up(sys.argv[1], sys.argv[2])
