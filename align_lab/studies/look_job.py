"""The program of a look's job: it reads, decides, submits the next seeds or trials and the job of the next look.

    python -P -m align_lab.studies.look_job TASKS.jsonl SNAPSHOT HASH

Runs that have failed wait for a person. Its record is what `status` shows.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

from align_lab.base import registry
from align_lab.base.errors import AlignLabError, Stopped
from align_lab.base.files import write_json
from align_lab.base.lease import STALE_SECONDS, lease, live, owner
from align_lab.base.paths import runs_folder
from align_lab.dispatch import job
from align_lab.dispatch.slurm_commands import SlurmError, outside_of_job
from align_lab.record.layout import StudyLayout
from align_lab.record.terminal import Terminal
from align_lab.studies import look_study, seed_steps, tuning
from align_lab.studies.seed_steps import Outcome

PATIENCE = 2 * STALE_SECONDS  # seconds: a command that submitted this job is about to end, and a dead one is stale
BY_HAND = "The command that started the study, typed again, goes on from here"
FORBIDDEN = (
    "Where jobs may not submit jobs, hardware.placement.look_job=false makes no such job, and the command is typed "
    "once a look"
)


def take(task: Mapping[str, Any], *, patience: float = PATIENCE) -> int:
    """Take the look and record how that went. Raises AlignLabError with the reason of a failure."""
    registry.scan(tuple(task["values"]["plugins"]))
    layout = StudyLayout(runs_folder() / task["study"])
    file = layout.look(task["name"])
    file.parent.mkdir(parents=True, exist_ok=True)

    def write(state: str, **fields: Any) -> None:
        process = {"host": socket.gethostname(), "pid": os.getpid(), "written": time.time()}
        write_json(file, {"name": task["name"], "state": state, **process, **fields})

    write("running")
    try:
        with outside_of_job():
            outcome = _alone(task, layout, patience)
    except Stopped as stopped:
        write("stopped", error=str(stopped))
        raise
    except Exception as error:
        reason = _reason(error)
        write("failed", error=reason)
        if not isinstance(error, AlignLabError):
            traceback.print_exc()
        raise AlignLabError(reason) from error
    print(outcome.sentence, flush=True)
    if outcome.status:
        write("failed", error=outcome.sentence)
    else:
        write("done", outcome=outcome.sentence)
    return outcome.status


def _alone(task: Mapping[str, Any], layout: StudyLayout, patience: float) -> Outcome:
    """Go on with the study, unless another process does, which is then said."""
    end = time.monotonic() + patience
    while live(layout.looks_lease) and time.monotonic() < end:
        time.sleep(0.5)
    study = look_study.study_of(task)

    def leave_it(who: str) -> None:
        raise _Taken(who)

    try:
        with lease(layout.looks_lease, on_wait=leave_it) as acquired:
            if not acquired:
                raise _Taken(owner(layout.looks_lease))
            console = Terminal(soft_wrap=True, width=200)
            if study.tuning:
                return tuning.advance(tuning.begin(study, console, unattended=True))
            return seed_steps.advance(seed_steps.begin(study, console, unattended=True))
    except _Taken as taken:
        return Outcome(status=0, sentence=f"{taken} is at work on the study: this look is left to it")


class _Taken(Exception):
    """Another process holds the lease."""


def _reason(error: Exception) -> str:
    if isinstance(error, SlurmError):
        return f"from {socket.gethostname()}: {error}. {BY_HAND}. {FORBIDDEN}"
    text = str(error) if isinstance(error, AlignLabError) else f"{type(error).__name__}: {error}"
    return f"{text}. {BY_HAND}"


if __name__ == "__main__":
    sys.exit(job.main(sys.argv[1:], take))
