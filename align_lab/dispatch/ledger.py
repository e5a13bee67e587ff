"""The submissions of a study: each is recorded before it is submitted, and confirmed with its job id afterwards.

They lie in `runs/STUDY/.dispatch/`. A crash between the two leaves a record without a job id, whose job
`slurm.adopt_unconfirmed` finds by name.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NotRequired, TypedDict

from align_lab.base import shapes
from align_lab.base.files import write_json, write_text
from align_lab.base.lease import now
from align_lab.dispatch.plan import JobArray, payload
from align_lab.record.layout import StudyLayout

BY_SLURM = re.compile(r"(srun|slurmstepd|sbatch|slurmd)(-\S+)?:")
ONLY_ENDED = re.compile(  # lines of Slurm that repeat that the process ended
    r"^(srun|slurmstepd)(-\S+)?:( error:)? (.*(Exited with exit code|Killed|Terminated|Segmentation fault|"
    r"Broken pipe|Aborted)|Terminating |Job step aborted|Force Terminated|\*\*\* |launch/slurm: _task_finish)"
)
PROGRESS = re.compile(  # what a program says of its work: lines with the time of day, bars, that it has started
    r"^\d\d:\d\d:\d\d |\bstep \d+/\d+|^\s*\d+%\||^submitit INFO "
)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One job or array. Task i of `names` has the job id `JOB_i` in an array, `JOB` otherwise."""

    token: str
    study: str
    executor: str
    kind: str
    names: tuple[str, ...]
    needs: tuple[str, ...]
    snapshot: str
    snapshot_hash: str
    written: float
    cluster: str | None = None  # None: that of the machine on which the command was typed
    job_id: str | None = None

    @property
    def job_name(self) -> str:
        """Unique in the cluster's queue, so that the job can be found by it."""
        return f"{self.study}.{self.token}"

    @property
    def array(self) -> bool:
        """Is it an array, rather than a single job?"""
        return len(self.names) > 1

    @property
    def unconfirmed(self) -> bool:
        """Was it to go to Slurm, and is its job id not known?"""
        return self.executor == "slurm" and self.job_id is None

    @property
    def alive_here(self) -> bool:
        """Is the process of this machine that was started for it still alive?"""
        if self.executor != "local" or self.job_id is None:
            return False
        with suppress(OSError):
            return b"submitit" in Path(f"/proc/{self.job_id}/cmdline").read_bytes()
        return False

    def names_of_jobs(self) -> dict[str, str]:
        """Id of each of its jobs on Slurm -> the name that the job was given there."""
        return dict.fromkeys(self.ids().values(), self.job_name) if self.executor == "slurm" else {}

    def ids(self) -> dict[str, str]:
        """Name of each task -> its job id; empty while the id is not known."""
        if self.job_id is None:
            return {}
        return {name: f"{self.job_id}_{i}" if self.array else self.job_id for i, name in enumerate(self.names)}


@dataclass(frozen=True)
class Ledger:
    """The submissions of one study."""

    folder: Path

    @classmethod
    def of(cls, study: Path) -> Ledger:
        """The ledger of a study's folder."""
        return cls(StudyLayout(study).dispatch)

    @property
    def logs(self) -> Path:
        """The folder of the jobs' output."""
        return self.folder / "logs"

    def draft(self, study: str, batch: JobArray, *, code: Path, digest: str) -> Submission:
        """A submission of tasks that will run the snapshot `code`. Nothing is written."""
        return Submission(
            token=uuid.uuid4().hex[:8],
            study=study,
            executor=batch.placement.executor,
            kind=batch.kind,
            names=tuple(task.name for task in batch.tasks),
            needs=batch.needs,
            snapshot=str(code),
            snapshot_hash=digest,
            written=time.time(),
            cluster=batch.placement.cluster,
        )

    def record(self, study: str, batch: JobArray, *, code: Path, digest: str) -> Submission:
        """Write what is about to be submitted: first the tasks, then the submission that makes them count."""
        self.logs.mkdir(parents=True, exist_ok=True)
        submission = self.draft(study, batch, code=code, digest=digest)
        limits = {"max_requeues": batch.placement.max_requeues, "signal_seconds": batch.placement.signal_seconds}
        lines = (json.dumps({**payload(task), **limits}) + "\n" for task in batch.tasks)
        write_text(self.tasks_file(submission), "".join(lines))
        self._write(submission)
        return submission

    def confirm(self, submission: Submission, job_id: str) -> Submission:
        """Record the id that the submission got."""
        confirmed = replace(submission, job_id=job_id)
        self._write(confirmed)
        return confirmed

    def discard(self, submission: Submission) -> None:
        """Remove a submission that never reached the cluster."""
        self._file(submission).unlink(missing_ok=True)
        self.tasks_file(submission).unlink(missing_ok=True)

    def age(self, submission: Submission) -> float:
        """Seconds since the submission was recorded, by the clock of the file system: machines' clocks differ."""
        file = self._file(submission)
        return now(file) - file.stat().st_mtime

    def submissions(self) -> list[Submission]:
        """Every submission, oldest first. Raises DataError for a record that is damaged: its jobs are not known."""
        records: list[Submission] = []
        for path in self.folder.glob("*.submission.json"):
            with suppress(FileNotFoundError):  # the cluster has just refused it, and it was discarded
                records.append(_submission(path))
        return sorted(records, key=lambda submission: submission.written)

    def tasks_file(self, submission: Submission) -> Path:
        """One line of JSON for each task of the submission."""
        return self.folder / f"{submission.token}.tasks.jsonl"

    def log(self, job_id: str) -> Path:
        """What the job printed; submitit chooses the name."""
        return self.logs / f"{job_id}_0_log.out"

    def last_line(self, job_id: str) -> str:
        """The last error that a process of the job printed, else its last line; empty where there is no log."""
        logs = sorted(self.logs.glob(f"{job_id}_*_log.out"), reverse=True) if job_id else []
        return next(filter(None, map(_last_line, logs)), "")

    def cancelled(self) -> set[str]:
        """Ids of the jobs that `align_lab cancel` cancelled: Slurm does not record a task that never started."""
        path = self.folder / "cancelled.json"
        if not path.exists():
            return set()
        return set(shapes.read(path, list[str], instead=f"Remove it: rm {path}"))

    def mark_cancelled(self, job_ids: Sequence[str]) -> None:
        """Add to `cancelled`."""
        write_json(self.folder / "cancelled.json", sorted(self.cancelled() | set(job_ids)))

    def _file(self, submission: Submission) -> Path:
        return self.folder / f"{submission.token}.submission.json"

    def _write(self, submission: Submission) -> None:
        write_json(self._file(submission), asdict(submission))


class _Stored(TypedDict):
    token: str
    study: str
    executor: str
    kind: str
    names: list[str]
    needs: list[str]
    snapshot: str
    snapshot_hash: str
    written: float
    cluster: NotRequired[str | None]
    job_id: NotRequired[str | None]


def _submission(path: Path) -> Submission:
    instead = f"If none of the study's jobs is queued or running, remove it: rm {path}"
    content = shapes.read(path, _Stored, instead=instead)
    values = {name: content[name] for name in _Stored.__annotations__ if name in content}
    return Submission(**{**values, "names": tuple(values["names"]), "needs": tuple(values["needs"])})


def _last_line(log: Path) -> str:
    """The last error of the program; without one, the last of Slurm; without one, the last line but for progress."""
    with suppress(OSError):
        tail = (line.strip() for line in tail_of(log).splitlines()[-40:])
        lines = [line for line in tail if line and not ONLY_ENDED.search(line) and not PROGRESS.search(line)]
        own = [line for line in lines if not BY_SLURM.match(line)]
        errors = [line for line in own if "rror" in line]
        by_slurm = [line for line in lines if BY_SLURM.match(line) and "error:" in line]
        return (errors or by_slurm or own or [""])[-1][:300]
    return ""


def tail_of(log: Path, size: int = 64 * 1024) -> str:
    """The end of a log, which may be long. Raises OSError."""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - size))
        return file.read().decode(errors="replace")


def latest(submissions: Sequence[Submission]) -> dict[str, Submission]:
    """Name of a task -> the last submission that contains it."""
    return {name: submission for submission in submissions for name in submission.names}
