"""From a checked study to its jobs: reconcile with what exists, plan the rest, submit it, and wait if asked to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console

from align_lab import preflight
from align_lab.base.errors import ConfigError, Stopped
from align_lab.base.lease import exclusive
from align_lab.base.paths import runs_folder
from align_lab.base.signals import StopRequest, stop_requests
from align_lab.config import equal_settings
from align_lab.config.study import Study
from align_lab.dispatch import broken_nodes, expected_runs, in_words, lengths, parallel, rest, slurm, status_table
from align_lab.dispatch.cluster import cluster_of, cluster_to_use
from align_lab.dispatch.dry_run import describe
from align_lab.dispatch.failed_stages import said_once
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.local_pool import LocalPool
from align_lab.dispatch.plan import JobArray, Plan, artefacts, job_arrays, placement_of, plan
from align_lab.dispatch.queue_limit import QueueIsFull, as_many_as_fit
from align_lab.dispatch.reconcile import Existing, link, one_per_config, publish_jobs, reconcile
from align_lab.dispatch.run_rows import described
from align_lab.dispatch.slurm_commands import on
from align_lab.dispatch.snapshot import of_runs
from align_lab.dispatch.state_rules import ACTIVE, ENDED_EARLY
from align_lab.dispatch.states import TaskState, states
from align_lab.dispatch.status_table import count
from align_lab.dispatch.submit import Refused, run_in_process, submit_slurm
from align_lab.record.layout import StudyLayout
from align_lab.record.terminal import Terminal, escape
from align_lab.stages import prompt_check
from align_lab.stages.dependencies import stages
from align_lab.stages.store import Store, shared

MANY = 3  # runs that a message names; of more it says how many


def launch(study: Study, *, console: Console | None = None, reuse: bool = True) -> int:
    """Submit what is missing of a study. Returns 0, or 1 when a run that the command waited for failed.

    With `reuse`, a run that another study has finished is not missing: it joins this one as a link.

    Raises ConfigError before anything is submitted, Refused when the cluster refuses, Stopped on a signal.
    """
    console = console or Terminal(soft_wrap=True)
    cluster = _needs_cluster(study)
    folder = runs_folder() / study.name
    expected_runs.refuse_other_seeds(folder, study)
    with on(cluster_to_use(folder, study.runs)):
        if study.settings.dry_run:
            return _describe(study, console, cluster=cluster and slurm.available(), reuse=reuse)
        return _launch(study, console, cluster=cluster, reuse=reuse)


def _describe(study: Study, console: Console, *, cluster: bool, reuse: bool) -> int:
    existing = reconcile(runs_folder() / study.name, study.runs, shared(), cluster=cluster, dry_run=True, reuse=reuse)
    todo = _plan(study, existing)
    _check_prompts(todo, console)
    _check_stages(todo)
    describe(study, todo, existing, console)
    return 0


def _launch(study: Study, console: Console, *, cluster: bool, reuse: bool) -> int:
    folder, store = runs_folder() / study.name, shared()
    with stop_requests() as stop:
        with exclusively(folder):
            stop.patient = True
            existing = reconcile(folder, study.runs, store, cluster=cluster, reuse=reuse)
            todo = _plan(study, existing)
            _check_prompts(todo, console)
            _check_stages(todo)
            link(folder, existing.skipped.values())
            _print_plan(study, todo, existing, expected_runs.update(folder, study), console)
            if cluster:
                parallel.begin(folder, parallel.bound(map(placement_of, study.runs)))
            submissions = [
                _submitted(submission, console) for submission in _submit(folder, todo, existing, store, stop)
            ]
            if left := rest.names(folder):
                console.print(
                    f"  {count(left, 'job')} more than your account may have in the queue: the jobs of the study "
                    "submit them as they end"
                )
            status = _run_here(study, store, todo, stop, console)
        return max(status, _wait(study, todo, stop, console, submitted=bool(submissions)))


def _needs_cluster(study: Study) -> bool:
    """Does any run go to a cluster? Raises ConfigError where this machine has none."""
    options = {run.choices["hardware"] for run in study.runs if placement_of(run).executor == "slurm"}
    if options and not (study.settings.dry_run and not slurm.available()):
        slurm.require(sorted(options)[0])
    if not options and study.settings.wait is False:
        raise ConfigError(
            "wait=false: runs on this machine end with the command that started them. Drop wait=false, or start it "
            "in the background with nohup ... &"
        )
    return bool(options)


def _plan(study: Study, existing: Existing) -> Plan:
    return plan(study.name, study.runs, skipped=existing.skipped, built=existing.built)


def _check_prompts(todo: Plan, console: Console) -> None:
    for line in prompt_check.check([task.cfg for task in todo.runs]):
        console.print(escape(line))


def _check_stages(todo: Plan) -> None:
    """Raises ConfigError where the job that trains a start policy or a reward model requests too little memory."""
    for task in todo.tasks:
        if task.placement.executor != "slurm" or task.kind != "stage":
            continue
        gpu = task.placement.gpus_per_node > 0
        if artefacts(task.cfg)[task.name].kind == "sft":
            preflight.check_requested(task.cfg, gpu=gpu)
        for name in (name for name, stage in stages(task.cfg).items() if stage.name == task.name):
            preflight.check_reward_training_requested(task.cfg, name, gpu=gpu)


def exclusively(folder: Path) -> AbstractContextManager[None]:
    """Only one command at a time submits a study or runs it here: a second would start the same runs again."""
    return exclusive(
        StudyLayout(folder).lease,
        lambda owner: (
            f"{owner} is submitting or running the study {folder.name} here. Watch it: align_lab status "
            f"{folder.name} --watch"
        ),
    )


def _submitted(submission: Submission, console: Console) -> Submission:
    """Print it at once: a study of thousands is submitted for minutes."""
    jobs = f"array of {len(submission.names)}" if submission.array else submission.names[0]
    console.print(f"  submitted {submission.kind}: {escape(jobs)} as job {submission.job_id}")
    return submission


def _submit(folder: Path, todo: Plan, existing: Existing, store: Store, stop: StopRequest) -> Iterator[Submission]:
    """Submit the plan's jobs for the cluster: stages first, so that a job id is known when another depends on it."""
    tasks = [task for task in todo.tasks if task.placement.executor == "slurm" and task.name not in existing.queued]
    rest.forget(folder)
    if not tasks:
        return
    ledger, (code, digest) = Ledger.of(folder), of_runs([task.cfg for task in tasks])
    stage_jobs, stand = dict(existing.queued), 0

    def submit(batch: JobArray) -> Submission:
        if stop.asked:
            raise Stopped(f"stopped after {stand} submissions. Run the same command again to submit the rest")
        drafted = ledger.record(todo.study, batch, code=code, digest=digest)
        with parallel.placed(folder, drafted, batch, left=next(left)) as (limited, behind):
            after = [stage_jobs[name] for name in batch.needs]
            return submit_slurm(ledger, drafted, limited, after=after, behind=behind)

    batches = job_arrays(tasks, max_size=slurm.max_array_size())
    left = parallel.to_come(batches)
    submissions = as_many_as_fit(batches, submit)
    while True:
        try:
            submission = next(submissions, None)
        except QueueIsFull as full:
            if not (stand or _live(existing)) or not rest.can_be_topped_up(full.left):
                raise
            rest.keep(folder, full.left, code=code, digest=digest)
            return
        except Refused as error:
            raise Refused(
                f"{error}. The {stand} jobs submitted before it remain queued; correct hardware.placement, if it is "
                "wrong, and run the same command again"
            ) from error
        if submission is None:
            return
        stand += 1
        if submission.kind == "stage":
            stage_jobs |= submission.ids()
            publish_jobs(store, submission)
        yield submission


def _live(existing: Existing) -> bool:
    """Has the study jobs in the queue?"""
    return bool(existing.queued) or any(run.state in ACTIVE for run in existing.skipped.values())


def _print_plan(study: Study, todo: Plan, existing: Existing, expected: Mapping[str, Any], console: Console) -> None:
    """What is submitted and what is skipped, before anything is submitted."""
    stages = [task for task in todo.tasks if task.kind == "stage" and task.name not in existing.queued]
    console.print(
        f"[bold]{escape(study.name)}[/]: {count(study.runs, 'run')}, {len(todo.runs)} to do"
        + (f", {count(stages, 'stage')} first" if stages else "")
        + (f"; {count(study.duplicates, 'duplicate')}" if study.duplicates else "")
    )
    for line in lengths.lines(study.runs):
        console.print(f"  {escape(line)}")
    for line in status_table.skipped_lines(todo.skipped, in_words.of_study(study.runs)):
        console.print(f"  skipped: {escape(line)}")
    if line := equal_settings.caution(study.runs):
        console.print(f"  [yellow]{escape(line)}[/]")
    if todo.tasks and (line := broken_nodes.line(runs_folder() / study.name)):
        console.print(f"  {escape(line)}")
    if left := list(expected["left"]):
        names = f"{', '.join(left[:3])}{', ...' if len(left) > 3 else ''}"
        console.print(
            f"[yellow]No longer in the sweep file: {count(left, 'run')} ({escape(names)}). "
            f"To cancel those that are queued: align_lab cancel {escape(study.name)} --removed[/]"
        )


def _run_here(study: Study, store: Store, todo: Plan, stop: StopRequest, console: Console) -> int:
    """Run the plan's tasks for this machine to their end. Returns the worst exit status of those in this process."""
    folder = runs_folder() / study.name
    status = max([run_in_process(task) for task in todo.tasks if task.placement.executor == "debug"], default=0)
    tasks = [task for task in todo.tasks if task.placement.executor == "local"]
    if tasks:
        pool = LocalPool(Ledger.of(folder), store, tasks, parallel=study.settings.parallel, stop=stop)
        with status_table.StatusTable(console, lambda: current_states(folder), names=_names(study)) as table:
            pool.run(on_tick=table.update)
    return status


def _wait(study: Study, todo: Plan, stop: StopRequest, console: Console, *, submitted: bool) -> int:
    """Wait for the jobs on the cluster where `wait` says so; otherwise print how to follow them."""
    folder = runs_folder() / study.name
    if study.settings.wait and not stop.asked:
        with status_table.StatusTable(console, lambda: current_states(folder), names=_names(study)) as table:
            table.wait_until_ended(stop)
    elif submitted and all(task.placement.executor == "slurm" for task in todo.tasks):
        console.print(f"The jobs run without this terminal. Watch them: align_lab status {escape(study.name)} --watch")
        return 0
    some_ran_here = any(task.placement.executor != "slurm" for task in todo.tasks)
    waited = bool(study.settings.wait) or (some_ran_here and not submitted)
    return _conclude(study, stop, console, waited=waited)


def _names(study: Study) -> set[str]:
    """The study's runs and the stages that they need."""
    stages = {name for run in one_per_config(study.runs) for name in artefacts(run)}
    return {run.name for run in study.runs} | stages


def _conclude(study: Study, stop: StopRequest, console: Console, *, waited: bool) -> int:
    """Print how the runs ended, with the reason of every failure. Returns the exit status, or raises Stopped."""
    names = _names(study)
    tasks = said_once([task for task in current_states(runs_folder() / study.name) if task.name in names])
    failed = [task for task in tasks if task.state in ("failed", "cancelled")]
    done = len([task for task in tasks if task.kind == "run" and task.state == "done"])
    _print_failures(failed, console)
    if stop.asked:
        raise _stopped(study, tasks)
    console.print(f"{done} of {_runs_are(study)} finished: align_lab compare {escape(study.name)}")
    incomplete = waited and done < len(study.runs)
    return 1 if failed or incomplete else 0


def _runs_are(study: Study) -> str:
    return f"{count(study.runs, 'run')} {'is' if len(study.runs) == 1 else 'are'}"


def _print_failures(failed: Sequence[TaskState], console: Console) -> None:
    for task, more in status_table.folded(failed):
        log = f" ({escape(task.log)})" if task.log else ""
        others = status_table.and_more(more)
        console.print(f"[red]{task.state}[/]: {escape(task.name)}{others}: {escape(task.why)}{log}")


def _stopped(study: Study, tasks: Sequence[TaskState]) -> Stopped:
    if any(task.state in ACTIVE for task in tasks):
        return Stopped(f"no longer waiting; the jobs continue. Watch them: align_lab status {study.name} --watch")
    runs = [task for task in tasks if task.kind == "run"]
    finished = len([task for task in runs if task.state == "done"])
    who = in_words.of_states(runs)
    saved = [
        f"{in_words.runs([task.name], who)} after step {task.step}"
        for task in runs
        if task.state == "stopped" and task.step
    ]
    more = f" and {len(saved) - MANY} more" if len(saved) > MANY else ""
    begun = (
        f"saved: {', '.join(saved[:MANY])}{more}"
        if saved
        else f"no {'other' if finished else 'run'} has a step that could be saved"
    )
    return Stopped(f"stopped; {finished} of {_runs_are(study)} finished; {begun}; the same command goes on")


def current_states(folder: Path, *, ask_slurm: bool = True) -> list[TaskState]:
    """Every run and stage of the study as it is now. Slurm is asked where it is available and has jobs of the study."""
    submissions = Ledger.of(folder).submissions()
    ask_slurm = ask_slurm and any(each.executor == "slurm" for each in submissions) and slurm.available()
    jobs = None
    with on(cluster_of(submissions)):
        if ask_slurm:
            submissions = slurm.with_job_ids(submissions)
            jobs = slurm.query(slurm.names_of(submissions))
        expected = expected_runs.read(folder)["runs"]
        return described(folder, states(folder, expected, jobs, submissions), expected)


def ended_early(folder: Path) -> set[str]:
    """The runs of the study that have failed, were stopped or cancelled: no job of the cluster submits them again."""
    return {task.name for task in current_states(folder) if task.kind == "run" and task.state in ENDED_EARLY}
