"""Slurm by its own commands: squeue for live jobs, sacct for ended ones, scontrol for limits and requeues."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from align_lab.base.errors import AlignLabError, ConfigError
from align_lab.dispatch.ledger import Ledger, Submission

SETTLE_SECONDS = 10.0  # by then an sbatch whose caller was killed has reached the queue, or it never will
PENDING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
DEFAULT_MAX_ARRAY_SIZE = 1001  # Slurm's own


class SlurmError(AlignLabError):
    """A Slurm command failed: the cluster does not answer, or refuses."""


@dataclass(frozen=True, kw_only=True)
class JobInfo:
    """One job as Slurm sees it. `live`: pending or running; otherwise it has ended."""

    state: str
    live: bool
    reason: str = ""
    node: str = ""
    exit_code: str = ""

    @property
    def pending(self) -> bool:
        """Does it wait in the queue?"""
        return self.live and self.state in PENDING


def available() -> bool:
    """Does this machine have Slurm's commands?"""
    return shutil.which("squeue") is not None


def require(option: str) -> None:
    """Raises ConfigError on a machine without Slurm."""
    missing = [tool for tool in ("sbatch", "squeue", "srun") if shutil.which(tool) is None]
    if missing:
        raise ConfigError(
            f"hardware={option} needs {missing[0]} on the PATH, and it is not there: "
            "use hardware=cpu or hardware=gpu, or run this on a login node of a Slurm cluster"
        )


def max_array_size() -> int:
    """The most jobs in one array, as the cluster is configured."""
    setting = re.search(r"MaxArraySize\s*=\s*(\d+)", _run("scontrol", "show", "config"))
    return max(1, int(setting[1])) if setting else DEFAULT_MAX_ARRAY_SIZE


def partitions(*, seconds: float) -> list[str]:
    """The cluster's partitions, each with its state and number of nodes. Raises SlurmError, also after `seconds`."""
    rows = _run("sinfo", "--noheader", "--format=%P|%a|%D", seconds=seconds).splitlines()
    return [f"{name} ({state}, nodes: {nodes})" for name, state, nodes in (row.strip().split("|") for row in rows)]


def query(job_ids: Iterable[str]) -> dict[str, JobInfo]:
    """Job id (`12`, or `12_3` in an array) -> what Slurm knows. Jobs that Slurm has forgotten are absent."""
    ids = set(job_ids)
    if not ids:
        return {}
    live = {job: info for job, info in _live_jobs().items() if job in ids}
    return ended_jobs(ids - live.keys()) | live


def _live_jobs() -> dict[str, JobInfo]:
    lines = _run("squeue", "--me", "--noheader", "--array", "--format=%i|%T|%r|%N").splitlines()
    return {
        job: JobInfo(state=state, reason=reason, node=node, live=True)
        for job, state, reason, node in (line.strip().split("|") for line in lines)
        if state != "COMPLETED"
    }


def ended_jobs(job_ids: set[str]) -> dict[str, JobInfo]:
    """From the accounting; empty where the cluster has none."""
    if not job_ids or shutil.which("sacct") is None:
        return {}
    arrays = ",".join(sorted({job.partition("_")[0] for job in job_ids}))
    try:
        lines = _run("sacct", "-nXPj", arrays, "--format=JobID,State,ExitCode,NodeList").splitlines()
    except SlurmError:
        return {}
    records = {
        job: JobInfo(
            state=state.partition(" ")[0], live=False, exit_code=code, node="" if node == "None assigned" else node
        )
        for job, state, code, node in (line.split("|") for line in lines)
    }
    return {job: info for job in job_ids if (info := _record_of(job, records)) is not None}


def _record_of(job: str, records: Mapping[str, JobInfo]) -> JobInfo | None:
    """The job's own record, or that of a range of array tasks that ended together before they started."""
    if job in records:
        return records[job]
    ranges = ((tasks, info) for tasks, info in records.items() if "_[" in tasks and info.state not in PENDING)
    return next((info for tasks, info in ranges if array_contains(tasks, job)), None)


def array_contains(tasks: str, job: str) -> bool:
    """Is the array task `12_3` one of `12_[0-4,7%5]`?"""
    array, _, indices = tasks.partition("_")
    array_of_job, _, index = job.partition("_")
    if array != array_of_job or not index.isdecimal():
        return False
    ranges = (part.partition("-") for part in indices.strip("[]").partition("%")[0].split(","))
    return any(int(low) <= int(index) <= int(high or low) for low, _, high in ranges)


def with_job_ids(submissions: Sequence[Submission]) -> list[Submission]:
    """The submissions; where the command was killed before it recorded the job id, with the queue's. Writes nothing."""
    return [replace(each, job_id=find_job(each.job_name)) if each.unconfirmed else each for each in submissions]


def adopt_unconfirmed(ledger: Ledger, submissions: Sequence[Submission]) -> list[Submission]:
    """Record the job ids of submissions whose command was killed; discard those that never reached the queue."""
    adopted = [_adopt(ledger, each) if each.unconfirmed else each for each in submissions]
    return [each for each in adopted if each is not None]


def _adopt(ledger: Ledger, submission: Submission) -> Submission | None:
    job_id = find_job(submission.job_name)
    while job_id is None and time.time() - submission.written < SETTLE_SECONDS:
        time.sleep(0.5)
        job_id = find_job(submission.job_name)
    if job_id is None:
        ledger.discard(submission)
        return None
    return ledger.confirm(submission, job_id)


def find_job(job_name: str) -> str | None:
    """The id of the job, or of the array, with this name."""
    queued = _run("squeue", "--me", "--noheader", "--array", "--format=%F", f"--name={job_name}").split()
    if queued:
        return queued[0]
    if shutil.which("sacct"):
        with suppress(SlurmError):  # without accounting, only the queue knows
            ended = _run("sacct", "-nXP", "--format=JobID", f"--name={job_name}", "--starttime=now-30days").split()
            return ended[0].partition("_")[0] if ended else None
    return None


def cancel(job_ids: Sequence[str]) -> None:
    """Raises SlurmError."""
    for start in range(0, len(job_ids), 500):
        _run("scancel", *job_ids[start : start + 500])


def dependencies() -> set[str]:
    """Ids of the jobs that other jobs of this user depend on."""
    lines = _run("squeue", "--me", "--noheader", "--format=%E").splitlines()
    return {job for line in lines for job in re.findall(r":(\d+)", line)}


def requeue(job_id: str) -> None:
    """Put the calling job back into the queue; Slurm then ends it. Raises SlurmError."""
    _run("scontrol", "requeue", job_id)


def is_running(job_id: str) -> bool:
    """False once the job was cancelled, even while its processes are still alive."""
    return "JobState=RUNNING" in _run("scontrol", "show", "job", job_id)


def _run(*command: str, seconds: float = 60) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds).stdout
    except FileNotFoundError:
        raise SlurmError(f"{command[0]} is not on the PATH of this machine") from None
    except subprocess.CalledProcessError as error:
        raise SlurmError(f"{' '.join(command)} failed: {error.stderr.strip() or error.stdout.strip()}") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not answer within {seconds:g} seconds") from None
