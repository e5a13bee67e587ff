"""From a checked study to its jobs: see what is there, plan the rest, submit it, and wait where that is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from align_lab.base.errors import AlignLabError, ConfigError, Stopped
from align_lab.base.files import read_lines
from align_lab.base.lease import lease
from align_lab.base.paths import runs_folder
from align_lab.base.signals import StopRequest, stop_requests
from align_lab.config.study import Study
from align_lab.dispatch import expected_runs, slurm, status_table
from align_lab.dispatch.dry_run import count, describe
from align_lab.dispatch.ledger import Card, Ledger
from align_lab.dispatch.local_pool import LocalPool
from align_lab.dispatch.plan import JobArray, Plan, artefacts, batches, placement_of, plan
from align_lab.dispatch.reconcile import Existing, announce, known, link, unlike
from align_lab.dispatch.snapshot import take
from align_lab.dispatch.states import ACTIVE, TaskState, is_done, states
from align_lab.dispatch.submit import Refused, run_here, submit_slurm
from align_lab.record.layout import RunLayout, StudyLayout
from align_lab.stages.store import Store, shared


def launch(study: Study, *, console: Console | None = None) -> int:
    """Submit what is missing of a study. Returns 0, or 1 when a run that was waited for failed.

    Raises ConfigError before anything is submitted, AlignLabError when the cluster refuses, Stopped on a signal.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    cluster = _check(study)
    folder, store = runs_folder() / study.name, shared()
    if study.settings.dry_run:
        now = known(folder, study.runs, store, cluster=cluster and slurm.here(), write=False)
        describe(study, _plan(study, now), now, console)
        return 0
    with stop_requests() as stop:
        with _alone(folder):
            stop.patient = True
            now = known(folder, study.runs, store, cluster=cluster)
            todo = _plan(study, now)
            link(folder, now.kept.values())
            _say(study, todo, now, expected_runs.update(folder, study), console)
            submitted = _submit(folder, todo, now, store, stop)
            for card in submitted:
                jobs = f"array of {len(card.names)}" if card.array else card.names[0]
                console.print(f"  submitted {card.kind}: {escape(jobs)} as job {card.job_id}")
            status = _here(study, store, todo, stop, console)
        return max(status, _await(study, todo, submitted, stop, console))


def _check(study: Study) -> bool:
    """Does any run go to a cluster? Raises ConfigError where this machine has none."""
    options = {run.choices["hardware"] for run in study.runs if placement_of(run).executor == "slurm"}
    if options and not (study.settings.dry_run and not slurm.here()):
        slurm.require(sorted(options)[0])
    if not options and study.settings.wait is False:
        raise ConfigError(
            "wait=false: runs of this machine end with the command that started them. Drop wait=false, or start it "
            "in the background with nohup ... &"
        )
    return bool(options)


def _plan(study: Study, now: Existing) -> Plan:
    return plan(study.name, study.runs, kept=now.kept, built=now.built)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One command submits a study at a time, or runs it here: a second would start the same runs again."""

    def busy(owner: str) -> None:
        raise ConfigError(
            f"{owner} is submitting or running the study {folder.name} here. Watch it: python -m align_lab status "
            f"{folder.name} --watch"
        )

    with lease(StudyLayout(folder).lease, on_wait=busy) as mine:
        if not mine:
            busy("another process")
        yield


def _submit(folder: Path, todo: Plan, now: Existing, store: Store, stop: StopRequest) -> list[Card]:
    """Queue the cluster's part of a plan: stages first, in an order in which every id is known when it is needed."""
    tasks = [task for task in todo.tasks if task.placement.executor == "slurm" and task.name not in now.queued]
    if not tasks:
        return []
    ledger, (code, digest) = Ledger.of(folder), take(task.cfg["plugins"] for task in tasks)
    jobs, cards = dict(now.queued), list[Card]()
    for batch in batches(tasks, max_array=slurm.max_array()):
        if stop.asked:
            raise Stopped(f"stopped after {len(cards)} submissions. Run the same command again to submit the rest")
        card = ledger.intend(todo.study, batch, code=code, digest=digest)
        card = _sbatch(ledger, card, batch, [jobs[name] for name in batch.needs], len(cards))
        cards.append(card)
        if card.kind == "stage":
            jobs |= card.ids()
            announce(store, card)
    return cards


def _sbatch(ledger: Ledger, card: Card, batch: JobArray, after: list[str], before: int) -> Card:
    try:
        return submit_slurm(ledger, card, batch, after=after)
    except Refused as error:
        said = str(error).strip().splitlines()[-1:]
        if "timed out" not in str(error):  # then it may have been accepted all the same: the next command looks
            ledger.void(card)
        raise AlignLabError(
            f"sbatch refused {card.names[0]}{' and others' if card.array else ''}: {''.join(said)}. "
            f"{before} submissions before it stand; correct hardware.placement and give the same command again"
        ) from error


def _say(study: Study, todo: Plan, now: Existing, meant: Mapping[str, Any], console: Console) -> None:
    """What is done and what is left alone, before anything is submitted."""
    stages = [task for task in todo.tasks if task.kind == "stage" and task.name not in now.queued]
    console.print(
        f"[bold]{escape(study.name)}[/]: {count(study.runs, 'run')}, {len(todo.runs)} to do"
        + (f", {count(stages, 'stage')} first" if stages else "")
        + (f"; {len(study.duplicates)} asked for twice" if study.duplicates else "")
    )
    for line in status_table.summary(todo.kept):
        console.print(f"  left alone: {escape(line)}")
    if meant["left"]:
        console.print(
            f"[yellow]{count(meant['left'], 'run')} left the sweep file ({escape(', '.join(list(meant['left'])[:3]))}, ...). "
            f"To cancel those that are queued: python -m align_lab cancel {escape(study.name)} --left[/]"
        )


def _here(study: Study, store: Store, todo: Plan, stop: StopRequest, console: Console) -> int:
    """This machine's part of the plan, to its end. Returns the worst exit status of what ran in this process."""
    folder = runs_folder() / study.name
    status = max([run_here(task) for task in todo.tasks if task.placement.executor == "debug"], default=0)
    tasks = [task for task in todo.tasks if task.placement.executor == "local"]
    if tasks:
        pool = LocalPool(Ledger.of(folder), store, tasks, parallel=study.settings.parallel, stop=stop)
        with status_table.StatusTable(console, lambda: look_at(folder), names=_names(study)) as shown:
            pool.run(on_tick=shown.update)
    return status


def _await(study: Study, todo: Plan, submitted: list[Card], stop: StopRequest, console: Console) -> int:
    """Wait for the cluster's part where that is wanted; else say how to follow it."""
    folder = runs_folder() / study.name
    if study.settings.wait and not stop.asked:
        with status_table.StatusTable(console, lambda: look_at(folder), names=_names(study)) as shown:
            shown.until_ended(stop)
    elif submitted and all(task.placement.executor == "slurm" for task in todo.tasks):
        console.print(
            f"The jobs run without this terminal. Watch them: python -m align_lab status {escape(study.name)} --watch"
        )
        return 0
    here = any(task.placement.executor != "slurm" for task in todo.tasks)
    return _conclude(study, folder, stop, console, waited=bool(study.settings.wait) or (here and not submitted))


def _names(study: Study) -> set[str]:
    """The study's runs and the stages that they need."""
    return {run.name for run in study.runs} | {name for run in unlike(study.runs) for name in artefacts(run)}


def _conclude(study: Study, folder: Path, stop: StopRequest, console: Console, *, waited: bool) -> int:
    """What became of the runs; the reason of every one that failed."""
    runs, names = {run.name for run in study.runs}, _names(study)
    ended = [task for task in look_at(folder) if task.name in names]
    failed = [task for task in ended if task.state in ("failed", "cancelled")]
    for task in failed:
        console.print(
            f"[red]failed[/]: {escape(task.name)}: {escape(task.why)}" + (f" ({escape(task.log)})" if task.log else "")
        )
    done = sum(task.state == "done" and task.name in runs for task in ended)
    are = "is" if len(runs) == 1 else "are"
    console.print(f"{done} of {count(runs, 'run')} {are} finished: python -m align_lab compare {escape(study.name)}")
    if stop.asked and any(task.state in ACTIVE for task in ended):
        raise Stopped(f"no longer waiting; the jobs go on. Watch them: python -m align_lab status {study.name} --watch")
    if stop.asked:
        raise Stopped("stopped. What ran was saved; run the same command again to continue")
    return 1 if failed or (waited and done < len(runs)) else 0


def look_at(folder: Path, *, ask: bool = True) -> list[TaskState]:
    """The study as it is now. Slurm is asked where it is here and has jobs of the study, unless `ask` forbids it."""
    cards = Ledger.of(folder).cards()
    if not any(card.executor == "slurm" for card in cards) or not slurm.here():
        ask = False
    cards = slurm.named(cards) if ask else cards
    ids = [job for card in cards if card.executor == "slurm" for job in card.ids().values()]
    return states(folder, expected_runs.read(folder)["runs"], slurm.facts(ids) if ask else None, cards)


def results(study: Study) -> dict[str, float | None]:
    """Name of each run -> the objective at its last step, None where it has not finished."""
    found: dict[str, float | None] = {}
    for run in study.runs:
        folder = runs_folder() / study.name / run.name
        rows = read_lines(RunLayout(folder).metrics) if is_done(folder) else []
        found[run.name] = rows[-1].get(study.settings.objective) if rows else None
    return found
