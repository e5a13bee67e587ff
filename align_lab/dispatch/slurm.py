"""Slurm by its own commands: squeue for live jobs, sacct for ended ones, scontrol for limits and requeues."""

from __future__ import annotations

import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from align_lab.base.errors import ConfigError
from align_lab.dispatch.job_info import (
    PENDING,
    RUNNING,
    JobInfo,
    controller_record,
    dependency_but_for,
    record_of,
    rows_of,
)
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.slurm_commands import SlurmAway, SlurmError, call, run

SETTLE_SECONDS = 10.0  # by then an sbatch whose caller was killed has reached the queue, or it never will
DEFAULT_MAX_ARRAY_SIZE = 1001  # Slurm's own
SBATCH_SECONDS = 300.0  # a busy controller lets sbatch wait
FEW = 3  # arrays that the controller is asked about one by one


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
    setting = re.search(r"MaxArraySize\s*=\s*(\d+)", run("scontrol", "show", "config"))
    return max(1, int(setting[1])) if setting else DEFAULT_MAX_ARRAY_SIZE


def partitions(*, seconds: float) -> list[str]:
    """The cluster's partitions, each with its state and number of nodes. Raises SlurmError, also after `seconds`."""
    rows = run("sinfo", "--noheader", "--format=%P|%a|%D", seconds=seconds).splitlines()
    return [f"{name} ({state}, nodes: {nodes})" for name, state, nodes in (row.strip().split("|") for row in rows)]


def nodes(partition: str) -> set[str]:
    """The nodes of a partition that take jobs; empty text: of the default partition. Raises SlurmError."""
    command = ("sinfo", "--noheader", "--Node", "--states=idle,mixed,allocated", "--format=%N|%P")
    rows = (row.strip().split("|") for row in run(*command, *([f"--partition={partition}"] * bool(partition))).split())
    return {node for node, name in rows if partition or name.endswith("*")}


def expanded(names: Sequence[str]) -> set[str]:
    """The nodes of lists like `node[3-4],login`. Raises SlurmError."""
    return set(run("scontrol", "show", "hostnames", ",".join(names)).split()) if names else set()


def names_of(submissions: Iterable[Submission]) -> dict[str, str]:
    """Job id -> the name that the job was given, of every job that was submitted to Slurm."""
    return {job: name for each in submissions for job, name in each.names_of_jobs().items()}


def query(names: Mapping[str, str]) -> dict[str, JobInfo]:
    """Job id (`12`, or `12_3` in an array) -> what Slurm knows. `names`: job id -> the name that the job was given.

    Jobs that Slurm has forgotten are absent, and so are those of another name: ids are used again, and two clusters
    that share a home folder use the same ones.
    """
    if not names:
        return {}
    live = _ours(_live_jobs(), names)
    ended = _ours(ended_jobs(names.keys() - live.keys()), names)
    doubtful = {job for job in names.keys() - live.keys() if job not in ended or ended[job].live}
    known = _ours(_of_controller(doubtful), names)  # a queue that was shown from a cache lacks jobs that are pending
    gone = {job: replace(info, live=False) for job, info in ended.items() if info.live and job not in known}
    return ended | gone | known | live


def _ours(jobs: Mapping[str, JobInfo], names: Mapping[str, str]) -> dict[str, JobInfo]:
    return {job: info for job, info in jobs.items() if job in names and info.name == names[job]}


def _live_jobs() -> dict[str, JobInfo]:
    rows = rows_of(run("squeue", "--me", "--noheader", "--array", "--format=%i|%T|%N|%j|%r"), columns=5)
    return {
        job: JobInfo(state=state, name=name, reason=reason, node=node, live=True, id=job)
        for job, state, node, name, reason in rows
        if state != "COMPLETED"
    }


def ended_jobs(job_ids: set[str]) -> dict[str, JobInfo]:
    """From the accounting, which may be late: `live` as it says. Empty where the cluster has none."""
    if not job_ids or shutil.which("sacct") is None:
        return {}
    arrays = ",".join(sorted({job.partition("_")[0] for job in job_ids}))
    try:
        text = run("sacct", "-nXPj", arrays, "--format=JobID,State,ExitCode,NodeList,JobName")
    except SlurmError:
        return {}
    records = {
        job: JobInfo(
            state=state.partition(" ")[0],
            live=state.partition(" ")[0] in PENDING | RUNNING,
            exit_code=code,
            node="" if node == "None assigned" else node,
            name=name,
        )
        for job, state, code, node, name in rows_of(text, columns=5)
    }
    return {job: info for job in job_ids if (info := record_of(job, records)) is not None}


def _of_controller(job_ids: set[str]) -> dict[str, JobInfo]:
    """What the controller itself knows: jobs that are live or have ended within the last minutes."""
    arrays = sorted({job.partition("_")[0] for job in job_ids})
    texts = [_shown(array) for array in arrays] if len(arrays) <= FEW else [_shown()]
    records = dict(record for text in texts for line in text.splitlines() if (record := controller_record(line)))
    return {job: info for job in job_ids if (info := record_of(job, records)) is not None}


def _shown(*array: str) -> str:
    try:
        return run("scontrol", "--oneliner", "show", "job", *array)
    except SlurmAway:
        raise
    except SlurmError:  # it has forgotten the job
        return ""


def with_job_ids(submissions: Sequence[Submission]) -> list[Submission]:
    """The submissions; where the command was killed before it recorded the job id, with the queue's. Writes nothing."""
    return [replace(each, job_id=find_job(each.job_name)) if each.unconfirmed else each for each in submissions]


def adopt_unconfirmed(ledger: Ledger, submissions: Sequence[Submission]) -> list[Submission]:
    """Record the job ids of submissions whose command was killed; discard those that never reached the queue."""
    adopted = [_adopt(ledger, each) if each.unconfirmed else each for each in submissions]
    return [each for each in adopted if each is not None]


def _adopt(ledger: Ledger, submission: Submission) -> Submission | None:
    job_id = find_settled(submission.job_name, lambda: ledger.age(submission))
    if job_id is None:
        ledger.discard(submission)
        return None
    return ledger.confirm(submission, job_id)


def find_settled(job_name: str, age: Callable[[], float]) -> str | None:
    """The id of the job with this name; None once its `age` in seconds is such that sbatch cannot be on its way."""
    while (job_id := find_job(job_name)) is None and age() < SETTLE_SECONDS:
        time.sleep(0.5)
    return job_id


def sbatch(script: Path, *, job_name: str, env: Mapping[str, str]) -> str:
    """Submit a script whose job has this name, and return its id.

    The queue decides whether it was taken: sbatch may be killed, or wrapped by a program of the site, after the
    controller took the job. Raises SlurmError where it was not, and SlurmAway where that is not known.
    """
    began = time.monotonic()
    try:
        answer = call("sbatch", str(script), seconds=SBATCH_SECONDS, env=env)
        if found := re.search(r"\bjob (\d+)", answer):
            return found[1]
        failed = SlurmAway(f"sbatch answered {answer.strip()!r}, without the id of a job")
    except SlurmError as error:
        failed = error
    refused = not isinstance(failed, SlurmAway)
    job_id = find_settled(job_name, lambda: SETTLE_SECONDS if refused else time.monotonic() - began)
    if job_id is None:
        raise SlurmError(str(failed)) from failed
    return job_id


def find_job(job_name: str) -> str | None:
    """The id of the job, or of the array, with this name."""
    queued = run("squeue", "--me", "--noheader", "--array", "--format=%F", f"--name={job_name}").split()
    if queued:
        return queued[0]
    if shutil.which("sacct"):
        with suppress(SlurmError):  # without accounting, only the queue knows
            ended = run("sacct", "-nXP", "--format=JobID", f"--name={job_name}", "--starttime=now-30days").split()
            return ended[0].partition("_")[0] if ended else None
    return None


def cancel(jobs: Mapping[str, str]) -> None:
    """`jobs`: id -> the name that the job was given. One of another name with the same id stays, but for tasks of an
    array, whose names `current_states` has just compared. Raises SlurmError.
    """
    by_filter: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for job, name in jobs.items():  # with a filter, scancel takes a waiting task for its whole array
        by_filter[() if "_" in job else (f"--name={name}",)].append(job)
    for filters, ids in by_filter.items():
        for start in range(0, len(ids), 500):
            run("scancel", *filters, *ids[start : start + 500])


def dependencies() -> set[str]:
    """Ids of the jobs that other jobs of this user depend on."""
    lines = run("squeue", "--me", "--noheader", "--format=%E").splitlines()
    return {job for line in lines for job in re.findall(r":(\d+)", line)}


def throttle(array: str, share: int) -> None:
    """So many tasks of the array may run at the same time. Raises SlurmError."""
    run("scontrol", "update", f"JobId={array}", f"ArrayTaskThrottle={share}")


def wait_no_longer(job_id: str, others: Collection[str]) -> None:
    """The job, or array, no longer waits for the end of these others, and goes on waiting for the rest."""
    shown = re.findall(r" Dependency=([^(]\S*)", run("scontrol", "--oneliner", "show", "job", job_id))
    if shown:
        run("scontrol", "update", f"JobId={job_id}", f"Dependency={dependency_but_for(others, shown[0])}")


def requeue(job_id: str) -> None:
    """Put the calling job back into the queue; Slurm then ends it. Raises SlurmError."""
    run("scontrol", "requeue", job_id)


def seconds_left(job_id: str) -> float | None:
    """Until the job's time limit; None where it has none, or has ended. Raises SlurmError."""
    left = run("squeue", "--noheader", f"--jobs={job_id}", "--format=%L").strip()
    days, _, clock = left.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in parts):
        return None
    seconds = sum(int(part) * 60**power for power, part in enumerate(reversed(parts)))
    return seconds + 24 * 3600 * int(days or 0)


def is_running(job_id: str) -> bool:
    """False once the job was cancelled, even while its processes are still alive."""
    return "JobState=RUNNING" in run("scontrol", "show", "job", job_id)
