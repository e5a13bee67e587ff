"""What exists of a study already: finished here or in another study, queued, running. A command submits the rest."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from align_lab.base.files import read_json, write_json
from align_lab.base.paths import runs_folder
from align_lab.base.run_config import RunConfig
from align_lab.dispatch import slurm
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.plan import Skipped, artefacts, but_for_the_seed
from align_lab.dispatch.state_rules import ACTIVE, WAITS_FOR_ROOM
from align_lab.dispatch.states import TaskState, is_done, states
from align_lab.record.differences import differences
from align_lab.stages.store import Store


@dataclass(frozen=True, kw_only=True)
class Existing:
    """`skipped`: runs not to submit. `built`: stages in the store. `queued`: stage -> id of the job that builds it."""

    skipped: Mapping[str, Skipped]
    built: frozenset[str]
    queued: Mapping[str, str]


def reconcile(
    folder: Path, runs: Sequence[RunConfig], store: Store, *, cluster: bool, dry_run: bool = False, reuse: bool = True
) -> Existing:
    """`cluster`: this command's runs go to one. A dry run writes nothing. `reuse`: runs of other studies count too."""
    current = _current_states(folder, runs, cluster=cluster, dry_run=dry_run)
    elsewhere = _finished_elsewhere(folder, runs) if reuse else {}
    skipped = {run.name: reason for run in runs if (reason := _skip(run, folder, current[run.name], elsewhere))}
    needed = {name for run in one_per_config(runs) for name in artefacts(run)}
    built = frozenset(name for name in needed if store.has(name))
    return Existing(skipped=skipped, built=built, queued=queued_stages(needed - built, store) if cluster else {})


def _current_states(folder: Path, runs: Sequence[RunConfig], *, cluster: bool, dry_run: bool) -> dict[str, TaskState]:
    ledger = Ledger.of(folder)
    submissions = ledger.submissions()
    jobs = None
    if cluster or (slurm.available() and any(each.executor == "slurm" for each in submissions)):
        adopt = slurm.with_job_ids if dry_run else functools.partial(slurm.adopt_unconfirmed, ledger)
        submissions = adopt(submissions)
        jobs = slurm.query(slurm.names_of(submissions))
    if not dry_run:
        _remove_broken_links(folder, runs)
    return {task.name: task for task in states(folder, {run.name: {} for run in runs}, jobs, submissions)}


def _remove_broken_links(folder: Path, runs: Iterable[RunConfig]) -> None:
    """A run that was linked from another study is to be run again when its original was removed."""
    for path in (folder / run.name for run in runs):
        if path.is_symlink() and not path.exists():
            path.unlink()


def _skip(run: RunConfig, folder: Path, current: TaskState, elsewhere: Mapping[str, Path]) -> Skipped | None:
    """Why the run is not submitted; None where it is."""
    if current.state == "done":
        return Skipped(name=run.name, state="done", why="finished" + differences(folder / run.name, run.values))
    if current.state in ACTIVE and current.why != WAITS_FOR_ROOM:
        array = current.job.partition("_")[0]
        return Skipped(name=run.name, state=current.state, why=f"{current.state}{f' in job {array}' if array else ''}")
    other = elsewhere.get(run.signature)
    if other is None or (folder / run.name).exists() or differences(other, run.values):
        return None  # a run that started here continues here, and results of other code or files are not reused
    return Skipped(name=run.name, state="elsewhere", why=f"finished in {other.parent.name}", folder=other)


def _finished_elsewhere(folder: Path, runs: Sequence[RunConfig]) -> dict[str, Path]:
    """Signature -> folder of a finished run of another study."""
    signatures = {run.signature for run in runs}
    folders: dict[str, Path] = {}
    for path in runs_folder().glob("*/*"):
        signature = path.name.rpartition("-")[2]
        if signature in signatures and path.parent.name != folder.name and not path.is_symlink() and is_done(path):
            folders[signature] = path
    return folders


def link(folder: Path, skipped: Iterable[Skipped]) -> None:
    """A run that another study finished joins this study as a symbolic link to its folder."""
    for run in skipped:
        if run.folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / run.name).symlink_to(Path("..") / run.folder.relative_to(runs_folder()))


def one_per_config(runs: Iterable[RunConfig]) -> list[RunConfig]:
    """One run for each set of stages: seeds share theirs, unless they move them."""
    return list({but_for_the_seed(run): run for run in runs}.values())


def queued_stages(missing: Iterable[str], store: Store) -> dict[str, str]:
    """Stages that any study has submitted and that are still pending or running -> their job ids."""
    jobs: dict[str, str] = {}
    names: dict[str, str] = {}
    for name in missing:
        card = read_json(_job_file(store, name))
        job, name_of_job = card.get("job"), card.get("name")
        if isinstance(job, str) and isinstance(name_of_job, str):
            jobs[name], names[job] = job, name_of_job
    infos = slurm.query(names)
    return {name: job for name, job in jobs.items() if job in infos and infos[job].live}


def publish_jobs(store: Store, submission: Submission) -> None:
    """Record in the store which job builds which stage: other studies then depend on it and do not build it again."""
    for name, job in submission.ids().items():
        store.root.mkdir(parents=True, exist_ok=True)
        write_json(_job_file(store, name), {"job": job, "name": submission.job_name, "study": submission.study})


def _job_file(store: Store, name: str) -> Path:
    return store.root / f"{name}.job.json"
