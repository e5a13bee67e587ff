"""What was submitted: one card for each job or array, written before it is submitted and confirmed with its id after.

Cards lie in `runs/STUDY/.dispatch/`. A crash between the two leaves a card without an id: `slurm.adopt` finds its job by name.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from align_lab.base.files import write_json, write_text
from align_lab.dispatch.plan import JobArray, payload
from align_lab.record.layout import StudyLayout


@dataclass(frozen=True, kw_only=True)
class Card:
    """One submission. Task i of `names` has the job id `JOB_i` in an array, `JOB` otherwise."""

    token: str
    study: str
    executor: str
    kind: str
    names: tuple[str, ...]
    needs: tuple[str, ...]
    snapshot: str
    snapshot_hash: str
    written: float
    job_id: str | None = None

    @property
    def job_name(self) -> str:
        """Unique in the cluster's queue: a job can be found again by it."""
        return f"{self.study}.{self.token}"

    @property
    def array(self) -> bool:
        return len(self.names) > 1

    def ids(self) -> dict[str, str]:
        """Name of each task -> its job id; empty while it is not known."""
        if self.job_id is None:
            return {}
        return {name: f"{self.job_id}_{i}" if self.array else self.job_id for i, name in enumerate(self.names)}


@dataclass(frozen=True)
class Ledger:
    """The submissions of one study."""

    folder: Path

    @classmethod
    def of(cls, study: Path) -> Ledger:
        return cls(StudyLayout(study).dispatch)

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def card(self, study: str, batch: JobArray, *, code: Path, digest: str) -> Card:
        """A card for tasks that are to run the snapshot `code`. Nothing is written."""
        return Card(
            token=uuid.uuid4().hex[:8],
            study=study,
            executor=batch.placement.executor,
            kind=batch.kind,
            names=tuple(task.name for task in batch.tasks),
            needs=batch.needs,
            snapshot=str(code),
            snapshot_hash=digest,
            written=time.time(),
        )

    def intend(self, study: str, batch: JobArray, *, code: Path, digest: str) -> Card:
        """Write down what is about to be submitted: first the tasks, then the card that makes them count."""
        self.logs.mkdir(parents=True, exist_ok=True)
        card = self.card(study, batch, code=code, digest=digest)
        limits = {"max_requeues": batch.placement.max_requeues, "minutes": batch.placement.minutes}
        lines = (json.dumps({**payload(task), **limits}) + "\n" for task in batch.tasks)
        write_text(self.tasks_file(card), "".join(lines))
        self._write(card)
        return card

    def confirm(self, card: Card, job_id: str) -> Card:
        known = Card(**{**asdict(card), "job_id": job_id})
        self._write(known)
        return known

    def void(self, card: Card) -> None:
        """Forget a submission that never reached the cluster."""
        self.card_file(card).unlink(missing_ok=True)
        self.tasks_file(card).unlink(missing_ok=True)

    def cards(self) -> list[Card]:
        """Every submission, oldest first."""
        found = [_card(json.loads(path.read_text())) for path in self.folder.glob("*.card.json")]
        return sorted(found, key=lambda card: card.written)

    def card_file(self, card: Card) -> Path:
        return self.folder / f"{card.token}.card.json"

    def tasks_file(self, card: Card) -> Path:
        return self.folder / f"{card.token}.tasks.jsonl"

    def log(self, job_id: str) -> Path:
        """What the job printed, as submitit names it."""
        return self.logs / f"{job_id}_0_log.out"

    def cancelled(self) -> set[str]:
        """Ids of the jobs that were cancelled from here: Slurm keeps no word of a task that never began."""
        path = self.folder / "cancelled.json"
        return set(json.loads(path.read_text())) if path.exists() else set()

    def mark_cancelled(self, job_ids: Sequence[str]) -> None:
        write_json(self.folder / "cancelled.json", sorted(self.cancelled() | set(job_ids)))

    def logs_of(self, job_id: str) -> list[Path]:
        """Of every process of the job; the one that said something last is first."""
        return sorted(self.logs.glob(f"{job_id}_*_log.out"), reverse=True) if job_id else []

    def _write(self, card: Card) -> None:
        write_json(self.card_file(card), asdict(card))


def _card(values: Mapping[str, Any]) -> Card:
    return Card(**{**values, "names": tuple(values["names"]), "needs": tuple(values["needs"])})


def newest(cards: Sequence[Card]) -> dict[str, Card]:
    """Name of a task -> the last submission that holds it."""
    return {name: card for card in cards for name in card.names}
