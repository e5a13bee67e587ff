"""What of a study is there already: finished here or elsewhere, queued, running. The rest is what a command submits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from align_lab.base.files import write_json
from align_lab.base.paths import runs_folder
from align_lab.base.run_config import RunConfig
from align_lab.dispatch import slurm
from align_lab.dispatch.ledger import Card, Ledger
from align_lab.dispatch.plan import Kept, artefacts
from align_lab.dispatch.states import ACTIVE, TaskState, is_done, states
from align_lab.record.differences import differences
from align_lab.stages.store import Store


@dataclass(frozen=True, kw_only=True)
class Existing:
    """`kept`: runs to leave alone. `built`: artefacts that are there. `queued`: artefact -> the job that is building it."""

    kept: Mapping[str, Kept]
    built: frozenset[str]
    queued: Mapping[str, str]


def known(folder: Path, runs: Sequence[RunConfig], store: Store, *, cluster: bool, write: bool = True) -> Existing:
    """`cluster`: this command's runs go to one. Without `write` nothing is changed, for a dry run."""
    ledger = Ledger.of(folder)
    cards = ledger.cards()
    asked = cluster or (slurm.here() and any(card.executor == "slurm" for card in cards))
    if asked:
        cards = slurm.adopt(ledger, cards) if write else slurm.named(cards)
    if write:
        _unlink_dead(folder, runs)
    facts = slurm.facts(job for card in cards for job in card.ids().values()) if asked else None
    now = {task.name: task for task in states(folder, {run.name: {} for run in runs}, facts, cards)}
    found = _finished_elsewhere(folder, runs)
    kept = {run.name: why for run in runs if (why := _keep(run, folder, now[run.name], found))}
    needed = {name for run in unlike(runs) for name in artefacts(run)}
    built = frozenset(name for name in needed if store.has(name))
    return Existing(kept=kept, built=built, queued=_queued(needed - built, store, cluster))


def _unlink_dead(folder: Path, runs: Iterable[RunConfig]) -> None:
    """A borrowed run whose original was removed is to be run again."""
    for path in (folder / run.name for run in runs):
        if path.is_symlink() and not path.exists():
            path.unlink()


def _keep(run: RunConfig, folder: Path, now: TaskState, elsewhere: Mapping[str, Path]) -> Kept | None:
    if now.state == "done":
        return Kept(name=run.name, state="done", why="finished" + differences(folder / run.name, run.values))
    if now.state in ACTIVE:
        root = now.job.partition("_")[0]
        return Kept(name=run.name, state=now.state, why=f"{now.state}{f' in job {root}' if root else ''}")
    other = elsewhere.get(run.signature)
    if other is None or (folder / run.name).exists() or differences(other, run.values):
        return None  # begun here, it goes on here; and what was made of other code or files may count there, not here
    return Kept(name=run.name, state="elsewhere", why=f"finished in {other.parent.name}", where=other)


def _finished_elsewhere(folder: Path, runs: Sequence[RunConfig]) -> dict[str, Path]:
    """Signature -> a finished run of another study that has it."""
    wanted = {run.signature for run in runs}
    found = {}
    for path in runs_folder().glob("*/*"):
        signature = path.name.rpartition("-")[2]
        if signature in wanted and path.parent.name != folder.name and not path.is_symlink() and is_done(path):
            found[signature] = path
    return found


def link(folder: Path, kept: Iterable[Kept]) -> None:
    """A run that another study finished joins this one by a link to its folder."""
    for run in kept:
        if run.where is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / run.name).symlink_to(Path("..") / run.where.relative_to(runs_folder()))


def unlike(runs: Iterable[RunConfig]) -> list[RunConfig]:
    """One run of each kind: seeds share their stages."""
    return list({json.dumps({**run.values, "seed": 0}, sort_keys=True): run for run in runs}.values())


def _queued(missing: Iterable[str], store: Store, cluster: bool) -> dict[str, str]:
    """Stages that some study has submitted and that still wait or run."""
    if not cluster:
        return {}
    jobs = {}
    for name in missing:
        with suppress(OSError, ValueError, KeyError):
            jobs[name] = json.loads(_pointer(store, name).read_text())["job"]
    facts = slurm.facts(jobs.values())
    return {name: job for name, job in jobs.items() if job in facts and facts[job].live}


def announce(store: Store, card: Card) -> None:
    """Let other studies know which jobs build what, so that theirs wait for these instead of building it again."""
    for name, job in card.ids().items():
        store.root.mkdir(parents=True, exist_ok=True)
        write_json(_pointer(store, name), {"job": job, "study": card.study})


def _pointer(store: Store, name: str) -> Path:
    return store.root / f"{name}.job.json"
