"""The state of each run and stage of a study, from its folder and from Slurm. Reads, changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

from align_lab.base import lease, shapes
from align_lab.base.files import read_json
from align_lab.dispatch import parallel, rest
from align_lab.dispatch.job_info import JobInfo
from align_lab.dispatch.ledger import Ledger, Submission, latest
from align_lab.dispatch.stage_job import record_of, stacks_of
from align_lab.dispatch.state_rules import ACTIVE, State, classify
from align_lab.record import records
from align_lab.record.layout import CONFIG, RunLayout, StudyLayout
from align_lab.run.watchdog import hung
from align_lab.stages.store import shared

Jobs = Mapping[str, JobInfo] | None  # by job id; None: Slurm was not asked


@dataclass(frozen=True, kw_only=True)
class TaskState:
    """One run, stage or look as `status` shows it."""

    name: str
    kind: str
    state: State
    arm: str = ""
    seed: int | None = None
    values: str = ""  # what tells it from other runs of its arm and seed
    step: int = 0
    steps: int = 0
    score: float | None = None
    decides: float | None = None  # the deciding metric of the newest evaluation
    metric: str = ""  # what it is called
    seconds_per_step: float | None = None
    seconds_left: float | None = None
    node: str = ""
    job: str = ""
    requeued: int = 0
    why: str = ""
    log: str = ""


def states(
    study: Path,
    expected: Mapping[str, Mapping[str, Any]],
    jobs: Jobs,
    submissions: Sequence[Submission] | None = None,
) -> list[TaskState]:
    """Every stage and look that was submitted, and every run that is expected, was submitted, or has a folder.

    `expected`: name of a run -> its arm, seed and steps; without them it counts as missing until it is submitted.
    """
    ledger = Ledger.of(study)
    last = latest(ledger.submissions() if submissions is None else submissions)
    common: dict[str, Any] = {"study": study, "jobs": jobs, "ledger": ledger}
    stages: dict[str, TaskState] = {}
    for name, submission in last.items():  # in the order of their submission: what a stage needs is before it
        if submission.kind == "stage":
            stages[name] = _state_of(_StageEvidence(name=name, submission=submission, stages=stages, **common))
    folders = {path.parent.name for path in study.glob(f"*/{CONFIG}")}
    submitted = {name for name, submission in last.items() if submission.kind == "run"}
    waiting, in_line = rest.names(study), parallel.waiting(study)
    runs = [
        _state_of(
            _RunEvidence(
                name=name,
                submission=last.get(name),
                expected=expected.get(name, {}),
                stages=stages,
                waits_for_room=name in waiting,
                in_line=name in last and last[name].token in in_line,
                **common,
            )
        )
        for name in dict.fromkeys([*expected, *sorted(submitted | folders)])
    ]
    looks = [
        _state_of(_LookEvidence(name=name, submission=submission, **common))
        for name, submission in last.items()
        if submission.kind == "look"
    ]
    return [*stages.values(), *runs, *looks]


def is_done(run: Path) -> bool:
    """Is the run in this folder finished?"""
    return records.status(run)[0].get("state") == "done"


class StageRecord(TypedDict, total=False):
    """What the job of a stage or of a look writes."""

    state: str
    error: str
    outcome: str
    written: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _TaskEvidence:
    """`state_rules.Evidence`, as far as runs and stages share it. A property is read when a rule asks for it."""

    study: Path
    name: str
    submission: Submission | None
    jobs: Jobs
    ledger: Ledger
    stages: Mapping[str, TaskState] = field(default_factory=dict[str, TaskState])

    @property
    def job_id(self) -> str:
        return self.submission.ids().get(self.name, "") if self.submission else ""

    @property
    def job(self) -> JobInfo | None:
        if self.submission is None or self.submission.executor != "slurm":
            return None
        return (self.jobs or {}).get(self.job_id)

    @property
    def slurm_not_asked(self) -> bool:
        return self.jobs is None and self.submission is not None and self.submission.executor == "slurm"

    @property
    def cancelled_before_start(self) -> bool:
        return bool(self.job_id) and self.job is None and self.job_id in self.ledger.cancelled()

    @property
    def failed_stage(self) -> tuple[str, str] | None:
        needed = (self.stages[name] for name in self._needs if name in self.stages)
        return next(((stage.name, stage.why) for stage in needed if stage.state == "failed"), None)

    @property
    def _needs(self) -> tuple[str, ...]:
        return self.submission.needs if self.submission else ()

    @property
    def last_log_line(self) -> str:
        return self.ledger.last_line(self.job_id)

    def of_last_attempt(self, record: dict[str, Any], timestamp: str) -> dict[str, Any]:
        """The record where the last submission's job wrote it: what an earlier attempt wrote does not describe it."""
        current = self.submission is None or record.get(timestamp, 0) >= self.submission.written
        return record if current else {}


@dataclass(frozen=True, kw_only=True, eq=False)
class _StageEvidence(_TaskEvidence):
    """What is known of a stage that was submitted."""

    expected: Mapping[str, Any] = field(default_factory=dict)
    kind = "stage"
    unmet_dependency = None
    damage = ""
    unknown = False
    upcoming = False
    waits_for_room = False
    awaited = "stages"

    @property
    def file(self) -> Path:
        return record_of(self.study, self.name)

    @cached_property
    def _record(self) -> dict[str, Any]:
        record = read_json(self.file)
        return self.of_last_attempt(record if shapes.fits(record, StageRecord) else {}, "written")

    @property
    def record(self) -> dict[str, Any]:
        return {"phase": "stage", **self._record} if self._record else {}

    @property
    def status(self) -> dict[str, Any]:
        return {}

    @property
    def finished(self) -> bool:
        return shared().has(self.name) and not (self.job and self.job.live)

    @property
    def process_alive(self) -> bool:
        return self.submission is not None and self.submission.alive_here

    @property
    def stack_traces(self) -> Path | None:
        path = stacks_of(self.file)
        return path if hung(path) else None


@dataclass(frozen=True, kw_only=True, eq=False)
class _LookEvidence(_StageEvidence):
    """What is known of a job that takes a look at the study; its record says what came out."""

    kind = "look"
    awaited = "runs"

    @property
    def file(self) -> Path:
        return StudyLayout(self.study).look(self.name)

    @property
    def finished(self) -> bool:
        return self._record.get("state") == "done" and not (self.job and self.job.live)


@dataclass(frozen=True, kw_only=True, eq=False)
class _RunEvidence(_TaskEvidence):
    """What is known of a run."""

    expected: Mapping[str, Any]  # its arm, seed and steps; empty where the study does not expect it
    waits_for_room: bool = False
    in_line: bool = False
    kind = "run"

    @cached_property
    def status(self) -> dict[str, Any]:
        """Its status.json, of whichever attempt."""
        return self._status[0]

    @cached_property
    def _status(self) -> tuple[dict[str, Any], str]:
        return records.status(self.study / self.name)

    @property
    def damage(self) -> str:
        return self._status[1]

    @property
    def record(self) -> dict[str, Any]:
        return self.of_last_attempt(self.status, "heartbeat")

    @property
    def finished(self) -> bool:
        return self.status.get("state") == "done"

    @property
    def process_alive(self) -> bool:
        started_here = self.submission is not None and self.submission.alive_here
        return started_here or lease.live(RunLayout(self.study / self.name).lease)

    @property
    def unmet_dependency(self) -> tuple[str, bool] | None:
        if self.status:
            return None
        states = {name: self.stages[name].state if name in self.stages else None for name in self._needs}
        unmet = (name for name, state in states.items() if state not in ACTIVE and not shared().has(name))
        return next(((name, states[name] == "cancelled") for name in unmet), None)

    @property
    def stack_traces(self) -> Path | None:
        path = RunLayout(self.study / self.name).stacks
        return path if hung(path) else None

    @property
    def awaited(self) -> str:
        return "turn: hardware.placement.max_parallel runs of the study are at work" if self.in_line else "stages"

    @property
    def unknown(self) -> bool:
        return not self.status and self.job is None

    @property
    def upcoming(self) -> bool:
        return self.submission is None and bool(self.expected) and lease.live(StudyLayout(self.study).lease)


def _state_of(evidence: _StageEvidence | _RunEvidence) -> TaskState:
    state, why = classify(evidence)
    status, expected, log = evidence.status, evidence.expected, evidence.ledger.log(evidence.job_id)
    return TaskState(
        name=evidence.name,
        kind=evidence.kind,
        state=state,
        why=why or evidence.record.get("outcome", ""),
        arm=expected.get("arm", ""),
        seed=expected.get("seed"),
        job=evidence.job_id or status.get("job", ""),
        node=(evidence.job.node if evidence.job else "") or status.get("node", "") or status.get("host", ""),
        log=str(log) if evidence.job_id and log.exists() else "",
        **_progress(status, expected),
    )


def _progress(status: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    step, steps = status.get("step", 0), status.get("steps") or expected.get("steps", 0)
    seconds_per_step = status.get("seconds_per_step")
    open_ended = seconds_per_step is None or status.get("state") == "done"
    return {
        "step": step,
        "steps": steps,
        "score": status.get("score"),
        "decides": status.get("decides"),
        "metric": status.get("metric", ""),
        "seconds_per_step": seconds_per_step,
        "seconds_left": None if open_ended else (steps - step) * seconds_per_step,
        "requeued": status.get("requeued", 0),
    }
