"""The program of a dispatched job: it runs its line of the tasks file, with the code that was submitted.

    python -P -m align_lab.dispatch.job TASKS.jsonl SNAPSHOT HASH

On the signal to save (SIGUSR2 before the time limit or a preemption; SIGTERM on preemption) the job requeues itself
and later continues where it was. A cancelled job does not.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from align_lab.base.errors import AlignLabError, DataError, LostError, Stopped
from align_lab.base.files import read_json, write_json
from align_lab.base.paths import runs_folder
from align_lab.base.signals import SIGNALS, stop_requests
from align_lab.dispatch.job_variables import ASKS, BEGAN, ENDS, TRIES
from align_lab.dispatch.rounds import TOO_OFTEN, Rounds
from align_lab.record import manifest
from align_lab.record.layout import RunLayout, StudyLayout

TOP_UP = "align_lab.dispatch.top_up"
SIGNAL_LATE = 120.0  # seconds: Slurm sends the signal up to a minute early, and the answer takes time
AWAY_SECONDS = 15 * 60.0  # so long a saved job asks a controller that is away: without one, no time limit ends it


def main(argv: list[str], work: Callable[[Mapping[str, Any]], int] | None = None) -> int:
    """Returns the exit status of the run or stage, or of other `work`; see `align_lab.__main__`."""
    tasks, snapshot, digest = argv
    job = manifest.job()
    try:
        task = read_task(Path(tasks), os.environ.get("SLURM_ARRAY_TASK_ID") if job else None)
    except AlignLabError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.status
    first = os.environ.get("SLURM_PROCID", "0") == "0"
    fruitless = Rounds.of(task).begin(job["requeued"]) if job and first else 0
    if fruitless > task["max_requeues"]:
        print(f"error: {TOO_OFTEN.format(fruitless)}", file=sys.stderr, flush=True)
        return 1
    try:
        with stop_requests():  # before anything else: without a handler the signal would kill the process
            from align_lab.dispatch.snapshot import check

            check(Path(snapshot), digest)
            _check_gpus()
            if first and (began := os.environ.get(BEGAN)):
                _begun(Path(began))
            if first and job:
                _hand_on(task)
            status = (work or perform)(task)
        _go_on_with_the_study(job if first else None, task)
        return status
    except Stopped as stopped:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # the state is saved; a second signal must not prevent the requeue
        print(f"{stopped}", flush=True)
        if job and not first:
            return 0  # rank 0 requeues the job for all
        if job:
            _go_on_later(job, task)
        return stopped.status
    except LostError as error:  # its node died: whichever process notices it puts the job back
        print(f"error: {error}", file=sys.stderr, flush=True)
        if job:
            _go_on_later(job, task, record=first)
        return error.status
    except AlignLabError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        _go_on_with_the_study(job if first else None, task)
        return error.status


def _begun(began: Path) -> None:
    """Tell the script of the job that the program works here, and the study where it did not."""
    began.touch()
    if began.with_suffix("").with_suffix(TRIES).exists():
        from align_lab.dispatch import broken_nodes

        broken_nodes.begun(began)


def _hand_on(task: Mapping[str, Any], ended: str = "") -> None:
    """With `max_parallel`, what no array of the study needs any more goes to the others. A failure only prints."""
    study = runs_folder() / (task["values"].get("study") or "")
    if task["kind"] != "run" or not StudyLayout(study).shares.exists():
        return
    from align_lab.dispatch import parallel

    try:
        parallel.hand_on(study, ended=ended)
    except (AlignLabError, OSError) as error:
        if ended:
            print(f"the other arrays of the study learn later that this run has ended: {error}", flush=True)


def _go_on_with_the_study(job: Mapping[str, Any] | None, task: Mapping[str, Any]) -> None:
    """A study that is larger than the queue goes on by its jobs: what ends makes room. A failure only prints."""
    study = task["values"].get("study")
    if job:
        _hand_on(task, ended=job["job"])
    if job and study and StudyLayout(runs_folder() / study).rest.exists():
        subprocess.run([sys.executable, "-P", "-m", TOP_UP, study, job["job"]], check=False)


def _check_gpus() -> None:
    """Raises DataError on a node whose GPUs do not answer: the script of the job then tries another node."""
    if "SLURM_JOB_GPUS" not in os.environ or shutil.which("nvidia-smi") is None:
        return
    done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).split())[:200]
        raise DataError(f"the GPUs of {os.environ.get('SLURMD_NODENAME', 'this node')} do not answer: {said}")


def read_task(tasks: Path, index: str | None) -> dict[str, Any]:
    """The line of a task of an array, or the only line of the file. Raises DataError where it is not known which."""
    with tasks.open(encoding="utf-8") as file:
        lines = list(islice(file, 2 if index is None else int(index) + 1))
    if index is None and len(lines) != 1:
        raise DataError(
            "this job does not know which task of its array it is: SLURM_ARRAY_TASK_ID is not in its environment. Drop "
            "--export from hardware.placement.sbatch, and what else keeps Slurm's variables from its processes"
        )
    if index is not None and len(lines) <= int(index):
        raise DataError(f"this job is task {index} of its array, and {tasks} has only {len(lines)} tasks")
    return json.loads(lines[int(index or 0)])


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


def _go_on_later(job: Mapping[str, Any], task: Mapping[str, Any], *, record: bool = True) -> None:
    """Requeue the job, or print why not, and `record` it for `status`."""
    reason = _requeue(job["job"], task)
    if reason is None:
        print(f"requeued ({job['requeued'] + 1}; at most {task['max_requeues']} without progress)", flush=True)
        return
    print(reason, flush=True)
    if not record:
        return
    study = StudyLayout(runs_folder() / task["values"]["study"])
    file = study.stage(task["name"]) if task["kind"] == "stage" else RunLayout(study.path / task["name"]).status
    if before := read_json(file):
        ended = {"state": "failed"} if task["kind"] == "stage" else {}  # its runs then name it, and why
        write_json(file, {**before, **ended, "error": reason})


def _requeue(job: str, task: Mapping[str, Any]) -> str | None:
    """Put the job back into the queue, or leave that to its script. Returns None, or why not.

    It may have been cancelled, have made no progress too often, or be a stage that its time limit ended: a stage has no
    checkpoints, and would reach the limit again.
    """
    from align_lab.dispatch import slurm
    from align_lab.dispatch.slurm_commands import patient

    fruitless = Rounds.of(task).fruitless()
    if fruitless >= task["max_requeues"]:
        return TOO_OFTEN.format(fruitless)
    try:
        with patient(AWAY_SECONDS):
            left = _seconds_left(job) if task["kind"] == "stage" else None
            if left is not None and left <= task["signal_seconds"] + SIGNAL_LATE:
                return "reached its time limit, and a stage has no checkpoints: raise hardware.placement.minutes"
            if shutil.which("scontrol") is None and (began := os.environ.get(BEGAN)):
                Path(began).with_suffix(ASKS).touch()
                return None
            if not slurm.is_running(job):
                return "not requeued: the job was cancelled"
            slurm.requeue(job)
    except AlignLabError as error:
        return f"not requeued: {error}"
    return None


def _seconds_left(job: str) -> float | None:
    """Until the job's time limit; None where it has none."""
    from align_lab.dispatch import slurm

    ends = os.environ.get(ENDS)
    if ends is None:
        return slurm.seconds_left(job)
    return float(ends) - time.time() if ends else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
