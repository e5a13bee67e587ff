"""What Slurm knows, asked with its own commands: squeue for jobs that live, sacct for those that ended, scontrol for limits."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from align_lab.base.errors import AlignLabError, ConfigError
from align_lab.dispatch.ledger import Card, Ledger

SETTLE_SECONDS = 10.0  # an sbatch whose caller died has reached the queue by then, or never will
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}


class SlurmError(AlignLabError):
    """A Slurm command failed: the cluster does not answer, or refuses."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One job as Slurm sees it. `live`: in the queue or running; otherwise it has ended."""

    state: str
    live: bool
    reason: str = ""
    node: str = ""
    exit: str = ""

    @property
    def waiting(self) -> bool:
        return self.state in WAITING


def here() -> bool:
    return shutil.which("squeue") is not None


def require(option: str) -> None:
    """Raises ConfigError on a machine without Slurm."""
    missing = [tool for tool in ("sbatch", "squeue", "srun") if shutil.which(tool) is None]
    if missing:
        raise ConfigError(
            f"hardware={option} needs {missing[0]} on the PATH, and it is not there: "
            "use hardware=cpu or hardware=gpu, or run this on a login node of a Slurm cluster"
        )


def max_array() -> int:
    """The most jobs of one array, as the cluster is configured (MaxArraySize)."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"))
    return max(1, int(found[1])) if found else 1001


def facts(job_ids: Iterable[str]) -> dict[str, Fact]:
    """Job id (`12`, or `12_3` in an array) -> what is known. Jobs that Slurm has forgotten are absent."""
    wanted = set(job_ids)
    if not wanted:
        return {}
    found = {key: fact for key, fact in _queue().items() if key in wanted}
    return _ended(wanted - found.keys()) | found


def _queue() -> dict[str, Fact]:
    lines = _ask("squeue", "--me", "--noheader", "--array", "--format=%i|%T|%r|%N").splitlines()
    return {
        job: Fact(state=state, reason=reason, node=node, live=True)
        for job, state, reason, node in (line.strip().split("|") for line in lines)
        if state != "COMPLETED"
    }


def _ended(wanted: set[str]) -> dict[str, Fact]:
    """From the accounting; nothing where the cluster keeps none."""
    if not wanted or shutil.which("sacct") is None:
        return {}
    roots = ",".join(sorted({job.partition("_")[0] for job in wanted}))
    try:
        text = _ask("sacct", "-nXPj", roots, "--format=JobID,State,ExitCode,NodeList")
    except SlurmError:
        return {}
    rows = {job: (state, code, node) for job, state, code, node in (line.split("|") for line in text.splitlines())}
    together = {job: row for job, row in rows.items() if "_[" in job and row[0] not in WAITING}
    known = {
        job: rows.get(job) or next((row for many, row in together.items() if covers(many, job)), None) for job in wanted
    }
    return {
        job: Fact(state=row[0].split()[0], live=False, exit=row[1], node="" if row[2] == "None assigned" else row[2])
        for job, row in known.items()
        if row
    }


def covers(many: str, job: str) -> bool:
    """Is `12_3` one of `12_[0-4,7%5]`, tasks that ended together before they began?"""
    root, _, indices = many.partition("_")
    mine, _, index = job.partition("_")
    if root != mine or not index.isdecimal():
        return False
    parts = (part.partition("-") for part in indices.strip("[]").partition("%")[0].split(","))
    return any(int(low) <= int(index) <= int(high or low) for low, _, high in parts)


def named(cards: Sequence[Card]) -> list[Card]:
    """The cards, with the ids of those whose caller died before it could write them down, where the queue has them. Writes nothing."""
    return [
        replace(card, job_id=find(card.job_name)) if card.executor == "slurm" and card.job_id is None else card
        for card in cards
    ]


def adopt(ledger: Ledger, cards: Sequence[Card]) -> list[Card]:
    """Find the ids of submissions whose caller died before it could write them down; forget those that never happened."""
    open_cards = [card for card in cards if card.executor == "slurm" and card.job_id is None]
    adopted = {}
    for card in open_cards:
        job_id = find(card.job_name)
        while job_id is None and time.time() - card.written < SETTLE_SECONDS:
            time.sleep(0.5)
            job_id = find(card.job_name)
        if job_id is None:
            ledger.void(card)
        else:
            adopted[card.token] = ledger.confirm(card, job_id)
    return [adopted.get(card.token, card) for card in cards if card not in open_cards or card.token in adopted]


def find(job_name: str) -> str | None:
    queue = ("squeue", "--me", "--noheader", "--array", "--format=%F", f"--name={job_name}")
    if found := _ask(*queue).split():
        return found[0]
    if shutil.which("sacct"):
        with suppress(SlurmError):  # a cluster may keep no accounting: what lives is in the queue
            past = _ask("sacct", "-nXP", "--format=JobID", f"--name={job_name}", "--starttime=now-30days").split()
            return past[0].partition("_")[0] if past else None
    return None


def cancel(job_ids: Sequence[str]) -> None:
    for start in range(0, len(job_ids), 500):
        _ask("scancel", *job_ids[start : start + 500])


def awaited() -> set[str]:
    """Ids of the jobs that other jobs of this user wait for."""
    lines = _ask("squeue", "--me", "--noheader", "--format=%E").splitlines()
    return {job for line in lines for job in re.findall(r":(\d+)", line)}


def requeue(job_id: str) -> None:
    """Put the calling job back into the queue; Slurm then ends it. Raises SlurmError."""
    _ask("scontrol", "requeue", job_id)


def running(job_id: str) -> bool:
    """Is the job meant to run? No longer once it was cancelled, though its processes still live."""
    return "JobState=RUNNING" in _ask("scontrol", "show", "job", job_id)


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except FileNotFoundError:
        raise SlurmError(f"{command[0]} is not on the PATH of this machine") from None
    except subprocess.CalledProcessError as error:
        raise SlurmError(f"{' '.join(command)} failed: {error.stderr.strip() or error.stdout.strip()}") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not answer within a minute") from None
