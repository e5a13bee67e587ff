"""What each run and stage of a study is doing, from its folder and from what Slurm knows. Reads; changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from align_lab.base import lease
from align_lab.base.files import read_json
from align_lab.dispatch.ledger import Card, Ledger, newest
from align_lab.dispatch.slurm import Fact
from align_lab.dispatch.stage_job import record_of, stacks_of
from align_lab.record.layout import CONFIG, RunLayout, StudyLayout
from align_lab.run.watchdog import hung
from align_lab.stages.store import shared

State = Literal["done", "running", "queued", "waiting", "stopped", "failed", "cancelled", "missing"]
UNASKED = "submitted; Slurm cannot be asked here"
ACTIVE = ("running", "queued", "waiting")
SAID = {  # how a job ended, where its own record cannot know
    "TIMEOUT": "reached its time limit before it could save (hardware.placement.minutes, .signal_seconds)",
    "OUT_OF_MEMORY": "ran out of memory (hardware.placement.mem_gb)",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "was preempted and not queued again",
    "BOOT_FAIL": "its node did not start",
    "DEADLINE": "reached the cluster's deadline",
}


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


Facts = Mapping[str, Fact] | None  # None: Slurm was not asked


def states(
    study: Path, wanted: Mapping[str, Mapping[str, Any]], facts: Facts, cards: Sequence[Card] | None = None
) -> list[TaskState]:
    """Every stage that was submitted, and every run that is wanted, was submitted, or has a folder."""
    ledger = Ledger.of(study)
    last = newest(ledger.cards() if cards is None else cards)
    stages = {
        name: stage_state(study, name, card, facts, ledger) for name, card in last.items() if card.kind == "stage"
    }
    folders = {path.parent.name for path in study.glob(f"*/{CONFIG}")}
    submitted = {name for name, card in last.items() if card.kind == "run"}
    names = dict.fromkeys([*wanted, *sorted(submitted | folders)])
    runs = [run_state(study, name, wanted.get(name, {}), last.get(name), facts, ledger, stages) for name in names]
    return [*stages.values(), *runs]


def stage_state(study: Path, name: str, card: Card, facts: Facts, ledger: Ledger) -> TaskState:
    record = _since(read_json(record_of(study, name)), "written", card)
    job, fact = _job(card, name, facts)
    common: dict[str, Any] = {"name": name, "kind": "stage", "job": job, "log": _log(ledger, job)}
    common |= {"node": fact.node if fact else ""}
    state, why = record.get("state"), record.get("error", "")
    if fact and fact.live:
        return TaskState(state=_live(fact), why=_waits(fact), **common)
    if shared().has(name):
        return TaskState(state="done", **common)
    if _alive(card):
        return TaskState(state="running", **common)
    if _unasked(card, facts) and state not in ("failed", "stopped"):
        return TaskState(state="queued", why=UNASKED, **common)
    if record and hung(stacks := stacks_of(record_of(study, name))):
        return TaskState(state="failed", why=f"hung: not built in the time of a stage; stacks in {stacks}", **common)
    return TaskState(**_ended(state, why, fact, common, ledger))


def run_state(
    study: Path,
    name: str,
    wanted: Mapping[str, Any],
    card: Card | None,
    facts: Facts,
    ledger: Ledger,
    stages: Mapping[str, TaskState],
) -> TaskState:
    folder = study / name
    status = read_json(RunLayout(folder).status)
    fresh = _since(status, "heartbeat", card)  # what an earlier attempt left says nothing of this one
    job, fact = _job(card, name, facts)
    common = {"name": name, "kind": "run", "arm": wanted.get("arm", ""), "seed": wanted.get("seed")}
    common |= _progress(status, wanted) | {"job": job or status.get("job", ""), "log": _log(ledger, job)}
    common |= {"node": (fact.node if fact else "") or status.get("node", "") or status.get("host", "")}
    if status.get("state") == "done":
        return TaskState(state="done", **common)
    held = lease.live(RunLayout(folder).lease)
    if fact and fact.live:
        return TaskState(state=_live(fact), why=_waits(fact), **common)
    if held or (card and _alive(card)):
        return TaskState(state="running", **common)
    if card and _unasked(card, facts) and fresh.get("state") not in ("failed", "stopped"):
        return TaskState(state="queued", why=UNASKED, **common)
    if card and (broken := [stages[need] for need in card.needs if need in stages and stages[need].state == "failed"]):
        return TaskState(state="failed", why=f"its stage {broken[0].name} failed: {broken[0].why}", **common)
    if fact and card and fact.state == "CANCELLED" and not status and (lost := _lost(card, stages)):
        gone = stages.get(lost[0])
        state, verb = ("cancelled", "cancelled") if gone and gone.state == "cancelled" else ("failed", "not built")
        return TaskState(state=state, why=f"its stage {lost[0]} was {verb}", **common)
    if hung(RunLayout(folder).stacks) and fresh:
        why = f"hung: no progress in the phase {status.get('phase')} for its time; stacks in {RunLayout(folder).stacks}"
        return TaskState(state="failed", why=why, **common)
    if job and fact is None and job in ledger.cancelled():
        return TaskState(state="cancelled", why="cancelled", **common)
    if not status and not fact:
        coming = card is None and bool(wanted) and lease.live(StudyLayout(study).lease)
        return TaskState(state="queued" if coming else "missing", why="its turn comes" if coming else "", **common)
    return TaskState(**_ended(fresh.get("state"), fresh.get("error", ""), fact, common, ledger))


def _lost(card: Card, stages: Mapping[str, TaskState]) -> list[str]:
    """The stages that it waited for in vain: neither built nor coming."""
    return [n for n in card.needs if not shared().has(n) and not (n in stages and stages[n].state in ACTIVE)]


def _since(record: dict[str, Any], key: str, card: Card | None) -> dict[str, Any]:
    """The record, if it was written after the card was submitted; nothing otherwise."""
    return record if card is None or record.get(key, 0) >= card.written else {}


def _unasked(card: Card, facts: Facts) -> bool:
    return facts is None and card.executor == "slurm"


def _ended(state: str | None, why: str, fact: Fact | None, common: dict[str, Any], ledger: Ledger) -> dict[str, Any]:
    """Nothing lives any more: how it ended, from its own record and from Slurm's."""
    if fact and fact.state == "CANCELLED":
        return {**common, "state": "cancelled", "why": "cancelled"}
    if fact and fact.state in SAID:
        return {**common, "state": "failed", "why": SAID[fact.state]}
    if state in ("stopped", "failed"):
        return {**common, "state": state, "why": why}
    code = f" (exit {fact.exit})" if fact and fact.exit else ""
    line = next(filter(None, map(last_line, ledger.logs_of(common["job"]))), "")
    return {
        **common,
        "state": "failed",
        "why": f"its process ended without a word{code}" + (f": {line}" if line else ""),
    }


def _job(card: Card | None, name: str, facts: Facts) -> tuple[str, Fact | None]:
    job = card.ids().get(name, "") if card else ""
    return job, (facts or {}).get(job) if card and card.executor == "slurm" else None


def _live(fact: Fact) -> State:
    if fact.waiting:
        return "waiting" if fact.reason.startswith("Dependency") else "queued"
    return "running"


def _waits(fact: Fact) -> str:
    """Why a job is not running yet, in Slurm's word."""
    return {"Dependency": "for its stages", "None": ""}.get(fact.reason, fact.reason) if fact.waiting else ""


def _progress(status: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    step, steps = status.get("step", 0), status.get("steps") or wanted.get("steps", 0)
    pace = status.get("seconds_per_step")
    left = (steps - step) * pace if pace is not None and status.get("state") != "done" else None
    shown = {key: status.get(key) for key in ("score", "decides", "metric")}
    return {"step": step, "steps": steps, "seconds_per_step": pace, "seconds_left": left, **shown} | {
        "requeued": status.get("requeued", 0)
    }


def _alive(card: Card) -> bool:
    """Does the process of this machine that was started for this card still live?"""
    if card.executor != "local" or card.job_id is None:
        return False
    with suppress(OSError):
        return b"submitit" in Path(f"/proc/{card.job_id}/cmdline").read_bytes()
    return False


def _log(ledger: Ledger, job: str) -> str:
    path = ledger.log(job)
    return str(path) if job and path.exists() else ""


def last_line(log: Path) -> str:
    """The last line of a log that says something: an error if there is one among the last."""
    with suppress(OSError):
        tail = (line.strip() for line in log.read_text(errors="replace").splitlines()[-40:])
        lines = [
            line for line in tail if line and not line.startswith(("srun:", "slurmstepd:"))
        ]  # they only say that it ended
        errors = [line for line in lines if "rror" in line]
        return (errors or lines or [""])[-1][:300]
    return ""


def is_done(run: Path) -> bool:
    return read_json(RunLayout(run).status).get("state") == "done"
