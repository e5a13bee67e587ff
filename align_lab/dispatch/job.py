"""What a dispatched job does: its line of a submission's tasks, with the code that it was submitted with.

    python -P -m align_lab.dispatch.job TASKS.jsonl SNAPSHOT HASH

A job that is told to save (SIGUSR2 before its time limit or a preemption; SIGTERM when preempted) queues itself again
and goes on later where it was. One that was cancelled does not.
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

BEGAN = time.monotonic()
TOO_OFTEN = "queued again {} times already (hardware.placement.max_requeues): the same command submits it anew"


def main(argv: list[str]) -> int:
    """Returns the exit status of the run or stage, see `align_lab.__main__`."""
    tasks, snapshot, digest = argv
    here = manifest.job()
    task = read(Path(tasks), int(os.environ.get("SLURM_ARRAY_TASK_ID", 0)) if here else 0)
    if here and here["requeued"] > task["max_requeues"]:
        print(f"error: {TOO_OFTEN.format(here['requeued'])}", file=sys.stderr, flush=True)
        return 1
    try:
        with stop_requests():  # from the first moment: the signal would otherwise end the process
            from align_lab.dispatch import snapshot as frozen

            frozen.check(Path(snapshot), digest)
            return perform(task)
    except Stopped as stopped:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # what is saved is saved; now nothing may come between
        print(f"{stopped}", flush=True)
        if here and os.environ.get("SLURM_PROCID", "0") != "0":
            return 0  # the first process decides for all
        if here:
            print(_queue_again(here["job"], here["requeued"], task), flush=True)
        return stopped.status
    except AlignLabError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.status


def read(tasks: Path, index: int) -> dict[str, Any]:
    with tasks.open(encoding="utf-8") as lines:
        return json.loads(next(islice(lines, index, None)))


def perform(task: Mapping[str, Any]) -> int:
    """Train the run, or build the artefact unless somebody has done so meanwhile."""
    from align_lab.base import registry
    from align_lab.base.run_config import RunConfig

    cfg = RunConfig(task["values"], task["choices"])
    registry.scan(tuple(cfg["plugins"]))
    if task["kind"] == "run":
        from align_lab.dispatch import process_group
        from align_lab.run import experiment

        if manifest.job():
            process_group.export()
        return experiment.run(cfg, wait_for_others=True)
    from align_lab.dispatch import stage_job

    return stage_job.build(task["name"], cfg)


def _queue_again(job: str, count: int, task: Mapping[str, Any]) -> str:
    """Back into the queue, unless the job was cancelled, has been there too often, or would only begin anew."""
    from align_lab.dispatch import slurm

    if count >= task["max_requeues"]:
        return TOO_OFTEN.format(count)
    if task["kind"] == "stage" and time.monotonic() - BEGAN > 0.5 * 60 * task["minutes"]:
        return "a stage begins anew each time: give it more time (hardware.placement.minutes)"
    try:
        if not slurm.running(job):
            return "the job was cancelled, so it is not queued again"
        slurm.requeue(job)
    except AlignLabError as error:
        return f"not queued again: {error}"
    return f"queued again ({count + 1} of at most {task['max_requeues']})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
