"""The state of each run and stage of a study, from its folder and from Slurm. Reads, changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from align_lab.base import lease
from align_lab.base.files import read_json
from align_lab.dispatch.ledger import Ledger, Submission, latest
from align_lab.dispatch.slurm import JobInfo
from align_lab.dispatch.stage_job import record_of, stacks_of
from align_lab.dispatch.state_rules import ACTIVE, State, classify
from align_lab.record.layout import CONFIG, RunLayout, StudyLayout
from align_lab.run.watchdog import hung
from align_lab.stages.store import shared

Jobs = Mapping[str, JobInfo] | None  # by job id; None: Slurm was not asked


@dataclass(frozen=True, kw_only=True)
class TaskState:
    """One run or stage as `status` shows it."""

    name: str
    kind: str
    state: State
    arm: str = ""
    seed: int | None = None
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
    """Every stage that was submitted, and every run that is expected, was submitted, or has a folder.

    `expected`: name of a run -> its arm, seed and steps; without them it counts as missing until it is submitted.
    """
    ledger = Ledger.of(study)
    last = latest(ledger.submissions() if submissions is None else submissions)
    common: dict[str, Any] = {"study": study, "jobs": jobs, "ledger": ledger}
    stages = {
        name: _state_of(_StageEvidence(name=name, submission=submission, **common))
        for name, submission in last.items()
        if submission.kind == "stage"
    }
    folders = {path.parent.name for path in study.glob(f"*/{CONFIG}")}
    submitted = {name for name, submission in last.items() if submission.kind == "run"}
    runs = [
        _state_of(
            _RunEvidence(name=name, submission=last.get(name), expected=expected.get(name, {}), stages=stages, **common)
        )
        for name in dict.fromkeys([*expected, *sorted(submitted | folders)])
    ]
    return [*stages.values(), *runs]


def is_done(run: Path) -> bool:
    """Is the run in this folder finished?"""
    return read_json(RunLayout(run).status).get("state") == "done"


@dataclass(frozen=True, kw_only=True, eq=False)
class _TaskEvidence:
    """`state_rules.Evidence`, as far as runs and stages share it. A property is read when a rule asks for it."""

    study: Path
    name: str
    submission: Submission | None
    jobs: Jobs
    ledger: Ledger

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
    failed_stage = None
    unmet_dependency = None
    unknown = False
    upcoming = False

    @cached_property
    def _record(self) -> dict[str, Any]:
        return self.of_last_attempt(read_json(record_of(self.study, self.name)), "written")

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
        path = stacks_of(record_of(self.study, self.name))
        return path if hung(path) else None


@dataclass(frozen=True, kw_only=True, eq=False)
class _RunEvidence(_TaskEvidence):
    """What is known of a run."""

    expected: Mapping[str, Any]  # its arm, seed and steps; empty where the study does not expect it
    stages: Mapping[str, TaskState] = field(default_factory=dict)
    kind = "run"

    @cached_property
    def status(self) -> dict[str, Any]:
        """Its status.json, of whichever attempt."""
        return read_json(RunLayout(self.study / self.name).status)

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
    def failed_stage(self) -> tuple[str, str] | None:
        needed = (self.stages[name] for name in self._needs if name in self.stages)
        return next(((stage.name, stage.why) for stage in needed if stage.state == "failed"), None)

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
    def unknown(self) -> bool:
        return not self.status and self.job is None

    @property
    def upcoming(self) -> bool:
        return self.submission is None and bool(self.expected) and lease.live(StudyLayout(self.study).lease)

    @property
    def _needs(self) -> tuple[str, ...]:
        return self.submission.needs if self.submission else ()


def _state_of(evidence: _StageEvidence | _RunEvidence) -> TaskState:
    state, why = classify(evidence)
    status, expected, log = evidence.status, evidence.expected, evidence.ledger.log(evidence.job_id)
    return TaskState(
        name=evidence.name,
        kind=evidence.kind,
        state=state,
        why=why,
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
