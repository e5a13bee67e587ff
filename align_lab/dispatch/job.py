"""What a dispatched job does: its line of a submission's tasks, with the code that it was submitted with.

    python -P -m align_lab.dispatch.job TASKS.jsonl SNAPSHOT HASH

A job that is told to save (SIGUSR2 before its time limit or a preemption; SIGTERM when preempted) queues itself again
and goes on later where it was. One that was cancelled does not.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from align_lab.errors import AlignLabError, Stopped
from align_lab.signals import stop_requests


def main(argv: list[str]) -> int:
    """Returns the exit status of the run or stage, see `align_lab.__main__`."""
    tasks, snapshot, digest = argv
    task = read(Path(tasks), int(os.environ.get("SLURM_ARRAY_TASK_ID", 0)))
    try:
        with stop_requests():  # from the first moment: the signal would otherwise end the process
            from align_lab.dispatch import snapshot as frozen

            frozen.check(Path(snapshot), digest)
            return perform(task)
    except Stopped as stopped:
        print(f"{stopped}", flush=True)
        if "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_PROCID", "0") == "0":
            print(_queue_again(stopped, task["max_requeues"]), flush=True)
        return stopped.status
    except AlignLabError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.status


def read(tasks: Path, index: int) -> dict[str, Any]:
    with tasks.open(encoding="utf-8") as lines:
        return json.loads(next(islice(lines, index, None)))


def perform(task: Mapping[str, Any]) -> int:
    """Train the run, or build the artefact unless somebody has done so meanwhile."""
    from align_lab import registry
    from align_lab.config import RunConfig

    cfg = RunConfig(task["values"], task["choices"])
    registry.scan(tuple(cfg["plugins"]))
    if task["kind"] == "run":
        from align_lab import experiment
        from align_lab.dispatch import group

        group.export()
        return experiment.run(cfg, wait_for_others=True)
    from align_lab.dispatch import stage

    return stage.build(task["name"], cfg)


def _queue_again(stopped: Stopped, most: int) -> str:
    """Back into the queue, unless the job was cancelled or has been there too often."""
    from align_lab.dispatch import slurm

    job, count = os.environ["SLURM_JOB_ID"], int(os.environ.get("SLURM_RESTART_COUNT", 0))
    if count >= most:
        return f"queued again {count} times already (hardware.placement.max_requeues): the same command submits it anew"
    try:
        if not slurm.running(job):
            return "the job was cancelled, so it is not queued again"
        slurm.requeue(job)
    except AlignLabError as error:
        return f"not queued again: {error}"
    return f"queued again ({count + 1} of at most {most})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
