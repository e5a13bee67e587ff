"""The state of a run or stage: an ordered table of rules over what is known of it. The first rule that matches wins."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from align_lab.dispatch.job_info import JobInfo
from align_lab.dispatch.pending_reasons import explained

State = Literal["done", "running", "queued", "waiting", "stopped", "failed", "cancelled", "missing"]
ACTIVE = ("running", "queued", "waiting")
ENDED_EARLY: tuple[State, ...] = ("failed", "stopped", "cancelled")  # a person decides whether it goes on
NOT_ASKED = "submitted; Slurm cannot be asked here"
ENDED_BY_SLURM = {  # ends that the process cannot record itself
    "TIMEOUT": "reached its time limit before it could save (hardware.placement.minutes, .signal_seconds)",
    "OUT_OF_MEMORY": "ran out of memory (hardware.placement.mem_gb)",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "was preempted and not requeued",
    "BOOT_FAIL": "its node did not start",
    "DEADLINE": "reached the cluster's deadline",
}

KILLED_BY = {
    "SIGKILL": " (often for want of memory: hardware.placement.mem_gb)",
    "SIGSEGV": " (a fault in a library: try another node, hardware.placement.exclude)",
}


class Evidence(Protocol):
    """What is known of one run or stage."""

    @property
    def finished(self) -> bool:
        """Its record says done, or its artefact is built and no job is at work on it."""
        ...

    @property
    def job(self) -> JobInfo | None:
        """Slurm's answer for the job of its last submission."""
        ...

    @property
    def process_alive(self) -> bool:
        """A process that holds its lease, or was started for it on this machine, is alive."""
        ...

    @property
    def slurm_not_asked(self) -> bool:
        """It was submitted to Slurm, and Slurm was not asked."""
        ...

    @property
    def record(self) -> Mapping[str, Any]:
        """What its last attempt wrote: `state`, `error`, `phase`. Empty where that attempt wrote nothing yet."""
        ...

    @property
    def failed_stage(self) -> tuple[str, str] | None:
        """(name, reason) of a stage that it needs and that failed."""
        ...

    @property
    def unmet_dependency(self) -> tuple[str, bool] | None:
        """(stage, was it cancelled) of a stage that it needs and that nobody builds; None once it has started."""
        ...

    @property
    def stack_traces(self) -> Path | None:
        """The file with the stack traces of the last attempt, where the watchdog ended it."""
        ...

    @property
    def cancelled_before_start(self) -> bool:
        """`align_lab cancel` cancelled its job, and Slurm does not know the job."""
        ...

    @property
    def awaited(self) -> str:
        """What its job depends on: its stages, its runs."""
        ...

    @property
    def unknown(self) -> bool:
        """A run that was never started and whose job Slurm does not know."""
        ...

    @property
    def upcoming(self) -> bool:
        """A command that is alive on this machine will start it."""
        ...

    @property
    def waits_for_room(self) -> bool:
        """The queue had no room for it, and a job of the study that ends submits it."""
        ...

    @property
    def damage(self) -> str:
        """Why its status.json cannot be used; empty where it can, or where there is none."""
        ...

    @property
    def last_log_line(self) -> str:
        """The last line of its log that says something."""
        ...


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Where `when` holds, the task is in `state` because of `why`, a text or a function of the evidence."""

    name: str
    when: Callable[[Any], Any]
    state: State
    why: str | Callable[[Any], str] = ""


def classify(evidence: Evidence) -> tuple[State, str]:
    """(state, reason) of a run or stage."""
    rule = first_match(evidence)
    return rule.state, rule.why if isinstance(rule.why, str) else rule.why(evidence)


def first_match(evidence: Evidence) -> Rule:
    """The rule that decides. The last rule always matches."""
    return next(rule for rule in RULES if rule.when(evidence))


def _pending_on_dependency(e: Evidence) -> bool:
    return bool(e.job and e.job.pending and e.job.reason.startswith("Dependency"))


def _pending_reason(e: Evidence) -> str:
    return explained(e.job.reason, e.job.id) if e.job else ""


def _suspended(e: Evidence) -> str:
    return "Slurm has suspended it" if _job_state(e) == "SUSPENDED" else ""


def _dependency_reason(e: Evidence) -> str:
    never = bool(e.job and e.job.reason.startswith("DependencyNever"))
    return f"for its {e.awaited}" + (f"; {_pending_reason(e)}" if never else "")


def _job_state(e: Evidence) -> str:
    return e.job.state if e.job else ""


def _unrecorded_end(e: Evidence) -> str:
    code = e.job.exit_code if e.job else ""
    line = f"; the last line of its log: {e.last_log_line}" if e.last_log_line else ""
    if number := _signal_of(code):
        return f"its process was killed by {number}{line}"
    return f"its process ended without an error message{f' (exit status {code})' if code else ''}{line}"


def _signal_of(code: str) -> str:
    """What Slurm's `status:signal` says of the signal that ended the process, which a shell adds 128 to; else empty."""
    status, _, number = code.partition(":")
    killed_by = int(number or 0) or (int(status or 0) - 128)
    with suppress(ValueError):
        name = signal.Signals(killed_by).name
        return name + KILLED_BY.get(name, "")
    return ""


WAITS_FOR_ROOM = "waits for room in the queue; a job of the study that ends submits it"
RULES = (
    Rule(name="finished", when=lambda e: e.finished, state="done"),
    Rule(
        name="pending on a dependency",
        when=_pending_on_dependency,
        state="waiting",
        why=_dependency_reason,
    ),
    Rule(name="pending", when=lambda e: e.job and e.job.pending, state="queued", why=_pending_reason),
    Rule(name="running on Slurm", when=lambda e: e.job and e.job.live, state="running", why=_suspended),
    Rule(name="running on this machine", when=lambda e: e.process_alive, state="running"),
    Rule(
        name="Slurm was not asked",
        when=lambda e: e.slurm_not_asked and e.record.get("state") not in ("failed", "stopped"),
        state="queued",
        why=NOT_ASKED,
    ),
    Rule(name="waits for room", when=lambda e: e.waits_for_room, state="queued", why=WAITS_FOR_ROOM),
    Rule(
        name="its status is damaged",
        when=lambda e: e.damage,
        state="failed",
        why=lambda e: f"{e.damage}. The same command goes on from the last checkpoint",
    ),
    Rule(
        name="a stage failed",
        when=lambda e: e.failed_stage,
        state="failed",
        why=lambda e: f"its stage {e.failed_stage[0]} failed: {e.failed_stage[1]}",
    ),
    Rule(
        name="a stage was cancelled",
        when=lambda e: _job_state(e) == "CANCELLED" and e.unmet_dependency and e.unmet_dependency[1],
        state="cancelled",
        why=lambda e: f"its stage {e.unmet_dependency[0]} was cancelled",
    ),
    Rule(
        name="a stage was not built",
        when=lambda e: _job_state(e) == "CANCELLED" and e.unmet_dependency,
        state="failed",
        why=lambda e: f"its stage {e.unmet_dependency[0]} was not built",
    ),
    Rule(
        name="hung",
        when=lambda e: e.record and e.stack_traces,
        state="failed",
        why=lambda e: f"hung: no progress in the phase {e.record.get('phase')}; stack traces in {e.stack_traces}",
    ),
    Rule(
        name="cancelled before it started",
        when=lambda e: e.cancelled_before_start,
        state="cancelled",
        why="cancelled",
    ),
    Rule(
        name="a command will start it",
        when=lambda e: e.unknown and e.upcoming,
        state="queued",
        why="not started yet",
    ),
    Rule(name="never started", when=lambda e: e.unknown, state="missing"),
    Rule(name="cancelled", when=lambda e: _job_state(e) == "CANCELLED", state="cancelled", why="cancelled"),
    Rule(
        name="ended by Slurm",
        when=lambda e: _job_state(e) in ENDED_BY_SLURM,
        state="failed",
        why=lambda e: ENDED_BY_SLURM[_job_state(e)],
    ),
    Rule(
        name="stopped and saved",
        when=lambda e: e.record.get("state") == "stopped",
        state="stopped",
        why=lambda e: e.record.get("error", ""),
    ),
    Rule(
        name="recorded its failure",
        when=lambda e: e.record.get("state") == "failed",
        state="failed",
        why=lambda e: e.record.get("error", ""),
    ),
    Rule(name="ended without a record", when=lambda e: True, state="failed", why=_unrecorded_end),
)
