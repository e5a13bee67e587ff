"""The program of a dispatched job: it runs its line of the tasks file, with the code that was submitted.

    python -P -m align_lab.dispatch.job TASKS.jsonl SNAPSHOT HASH

On the signal to save (SIGUSR2 before the time limit or a preemption; SIGTERM on preemption) the job requeues itself
and later continues where it was. A cancelled job does not.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from align_lab.base.errors import AlignLabError, Stopped
from align_lab.base.signals import SIGNALS, stop_requests
from align_lab.record import manifest

STARTED = time.monotonic()
TOO_OFTEN = "requeued {} times, which is the limit (hardware.placement.max_requeues): the same command submits it again"


def main(argv: list[str]) -> int:
    """Returns the exit status of the run or stage, see `align_lab.__main__`."""
    tasks, snapshot, digest = argv
    job = manifest.job()
    task = read_task(Path(tasks), int(os.environ.get("SLURM_ARRAY_TASK_ID", 0)) if job else 0)
    if job and job["requeued"] > task["max_requeues"]:
        print(f"error: {TOO_OFTEN.format(job['requeued'])}", file=sys.stderr, flush=True)
        return 1
    try:
        with stop_requests():  # before anything else: without a handler the signal would kill the process
            from align_lab.dispatch.snapshot import check

            check(Path(snapshot), digest)
            return perform(task)
    except Stopped as stopped:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # the state is saved; a second signal must not prevent the requeue
        print(f"{stopped}", flush=True)
        if job and os.environ.get("SLURM_PROCID", "0") != "0":
            return 0  # rank 0 requeues the job for all
        if job:
            print(_requeue(job["job"], job["requeued"], task), flush=True)
        return stopped.status
    except AlignLabError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.status


def read_task(tasks: Path, index: int) -> dict[str, Any]:
    """One line of a tasks file."""
    with tasks.open(encoding="utf-8") as lines:
        return json.loads(next(islice(lines, index, None)))


def perform(task: Mapping[str, Any]) -> int:
    """Train the run, or build the stage where nobody has built it yet."""
    from align_lab.base import registry
    from align_lab.base.run_config import RunConfig

    cfg = RunConfig(task["values"], task["choices"])
    registry.scan(cfg.plugins)
    if task["kind"] == "run":
        from align_lab.dispatch import process_group
        from align_lab.run import experiment

        if manifest.job():
            process_group.export()
        return experiment.run(cfg, wait_for_others=True)
    from align_lab.dispatch import stage_job

    return stage_job.build(task["name"], cfg)


def _requeue(job: str, count: int, task: Mapping[str, Any]) -> str:
    """Requeue the job, unless it was cancelled, reached the limit of requeues, or could not get further. Says which."""
    from align_lab.dispatch import slurm

    if count >= task["max_requeues"]:
        return TOO_OFTEN.format(count)
    if task["kind"] == "stage" and time.monotonic() - STARTED > 0.5 * 60 * task["minutes"]:
        return "not requeued: a stage has no checkpoints and would start over. Raise hardware.placement.minutes"
    try:
        if not slurm.is_running(job):
            return "not requeued: the job was cancelled"
        slurm.requeue(job)
    except AlignLabError as error:
        return f"not requeued: {error}"
    return f"requeued ({count + 1} of at most {task['max_requeues']})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
