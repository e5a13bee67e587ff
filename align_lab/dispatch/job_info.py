"""One job as Slurm describes it, in the forms of squeue, sacct and scontrol. Pure: it asks nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from align_lab.dispatch.slurm_commands import SlurmError

PENDING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
RUNNING = {"RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"}


@dataclass(frozen=True, kw_only=True)
class JobInfo:
    """One job as Slurm sees it. `live`: pending or running; otherwise it has ended."""

    state: str
    live: bool
    name: str = ""
    reason: str = ""
    node: str = ""
    exit_code: str = ""
    id: str = ""

    @property
    def pending(self) -> bool:
        """Does it wait in the queue?"""
        return self.live and self.state in PENDING


def rows_of(text: str, *, columns: int) -> list[list[str]]:
    """The cells of an answer. Raises SlurmError where a line has too few, so that no job is taken for ended."""
    rows = [line.strip().split("|", columns - 1) for line in text.splitlines() if line.strip()]
    if bad := next((row for row in rows if len(row) < columns), None):
        raise SlurmError(f"Slurm's answer cannot be read: {'|'.join(bad)!r}, and {columns} columns were asked for")
    return rows


def record_of(job: str, records: Mapping[str, JobInfo]) -> JobInfo | None:
    """The job's own record, or that of a range of array tasks that are pending, or ended before they started."""
    if job in records:
        return records[job]
    ranges = ((tasks, info) for tasks, info in records.items() if "_[" in tasks)
    return next((info for tasks, info in ranges if array_contains(tasks, job)), None)


def controller_record(line: str) -> tuple[str, JobInfo] | None:
    """(job id, or range of array tasks; what a line of `scontrol show job` says of it)."""
    values = dict(re.findall(r"(?:^|\s)(\w+)=(\S*)", line))
    if "JobId" not in values or "JobState" not in values:
        return None
    state, tasks = values["JobState"], values.get("ArrayTaskId")
    job = values["JobId"]
    if tasks is not None:
        job = f"{values['ArrayJobId']}_{tasks if tasks.isdecimal() else f'[{tasks}]'}"
    return job, JobInfo(
        state=state,
        live=state in PENDING | RUNNING,
        name=values.get("JobName", ""),
        reason=values.get("Reason", ""),
        id=job,
        node=values.get("NodeList", "").replace("(null)", ""),
        exit_code=values.get("ExitCode", ""),
    )


def dependency_but_for(jobs: Collection[str], shown: str) -> str:
    """What `scontrol show job` says of a dependency, as it is set, without waiting for the end of these jobs."""
    parts = (re.sub(r"_\*|\((unfulfilled|failed)\)", "", part) for part in shown.split(","))
    return ",".join(part for part in parts if not any(part == f"afterany:{job}" for job in jobs))


def array_contains(tasks: str, job: str) -> bool:
    """Is the array task `12_3` one of `12_[0-4,7%5]`?"""
    array, _, indices = tasks.partition("_")
    array_of_job, _, index = job.partition("_")
    if array != array_of_job or not index.isdecimal():
        return False
    ranges = (part.partition("-") for part in indices.strip("[]").partition("%")[0].split(","))
    return any(int(low) <= int(index) <= int(high or low) for low, _, high in ranges)
