"""`dry_run=true` prints the plan: jobs, skipped runs with reasons, resources, estimated cost, sbatch scripts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence, Sized
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.markup import escape

from align_lab import preflight
from align_lab.base.files import read_json
from align_lab.base.hardware import Placement
from align_lab.base.paths import runs_folder
from align_lab.config.study import Study
from align_lab.dispatch import slurm, status_table
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.plan import JobArray, Plan, Task, job_arrays
from align_lab.dispatch.reconcile import Existing
from align_lab.dispatch.submit import script
from align_lab.record.layout import MANIFEST, RunLayout


def describe(study: Study, todo: Plan, existing: Existing, console: Console) -> None:
    """Print the plan; nothing is written or submitted."""
    console.print(f"[bold]{escape(study.name)}[/] {escape(study.settings.question)}")
    duplicates = f"; {count(study.duplicates, 'duplicate')}" if study.duplicates else ""
    console.print(f"{count(study.runs, 'run')}, {len(todo.runs)} to do{duplicates}")
    for line in status_table.skipped_lines(todo.skipped):
        console.print(f"  skipped: {escape(line)}")
    for name, job in existing.queued.items():
        console.print(f"  depends on {escape(name)}, which job {job} builds")
    new_tasks = [task for task in todo.tasks if task.name not in existing.queued]
    batches = job_arrays(new_tasks, max_size=_max_array_size(todo))
    for batch in batches:
        _describe_batch(batch, console)
    console.print(estimate(todo))
    _print_scripts(study, batches, console)
    console.print("\nNothing was submitted. Without dry_run=true the same command submits this plan.")


def _describe_batch(batch: JobArray, console: Console) -> None:
    dependencies = f", after {', '.join(batch.needs)}" if batch.needs else ""
    resources = f"{len(batch.tasks):>4} x {resources_of(batch.placement)}"
    console.print(f"{batch.kind:<6}{escape(resources)}{escape(dependencies)}")
    for task in batch.tasks:
        console.print(f"        {escape(task.name)}")
    for line in peak_memory(batch):
        console.print(f"        [dim]{escape(line)}[/]")


def _print_scripts(study: Study, batches: Sequence[JobArray], console: Console) -> None:
    ledger = Ledger.of(runs_folder() / study.name)
    for batch in batches:
        if batch.placement.executor == "slurm":
            submission = ledger.draft(study.name, batch, code=Path("SNAPSHOT"), digest="HASH")
            console.print(f"\n[dim]# {batch.kind} {escape(batch.tasks[0].name)}[/]")
            console.print(escape(script(ledger, submission, batch, after=[f"<{name}>" for name in batch.needs])))


def _max_array_size(todo: Plan) -> int:
    """The cluster's limit; Slurm's default where no cluster answers."""
    if any(task.placement.executor == "slurm" for task in todo.tasks):
        with suppress(slurm.SlurmError):
            return slurm.max_array_size()
    return slurm.DEFAULT_MAX_ARRAY_SIZE


def count(items: Sized, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def resources_of(place: Placement) -> str:
    """Nodes, GPUs, cores, memory, time limit and partition of one job."""
    if place.executor != "slurm":
        return f"{place.executor}, {count(range(place.cpus_per_task), 'core')}"
    parts = [
        count(range(place.nodes), "node"),
        f"{place.tasks_per_node} processes" if place.tasks_per_node > 1 else "",
        count(range(place.gpus_per_node), "GPU") if place.gpus_per_node else "",
        count(range(place.cpus_per_task), "core"),
        f"{place.mem_gb:g} GiB" if place.mem_gb else "",
        f"{status_table.duration(60.0 * place.minutes)}",
        f"partition {place.partition}" if place.partition else "",
    ]
    return "slurm, " + ", ".join(filter(None, parts))


def peak_memory(batch: JobArray) -> list[str]:
    """The estimated peak memory of a process, for each algorithm and model of the batch."""
    if batch.kind == "stage":
        return []
    lines: list[str] = []
    for (algo, model), task in {_algo_and_model(task): task for task in batch.tasks}.items():
        if (planned := preflight.planned(task.cfg)) is not None:
            _, need, limit = planned
            of_limit = f", of {limit}" if limit else ""
            lines.append(f"memory of {algo} on {model}: about {need.sentence()}, in the {need.phase}{of_limit}")
    return lines


def estimate(todo: Plan) -> str:
    """Device-hours, from the recorded seconds per step of earlier runs of the same algorithm and model."""
    seconds_per_step = {key: mean(values) for key, values in _recorded_speeds().items()}
    known = [(task, seconds_per_step.get(_algo_and_model(task))) for task in todo.runs]
    hours = [
        seconds * task.cfg.train.steps * devices(task.placement) / 3600
        for task, seconds in known
        if seconds is not None
    ]
    unknown = sorted({_algo_and_model(task)[0] for task, seconds in known if seconds is None})
    text = f"about {sum(hours):.2f} device-hours for {count(hours, 'run')}, estimated from recorded ones"
    missing = f"no recorded run to estimate {', '.join(unknown)} from"
    return "; ".join([*([text] if hours else []), *([missing] if unknown else [])]) or "nothing to do"


def devices(place: Placement) -> int:
    """GPUs of a job, or its processes where it has no GPUs."""
    return place.nodes * (place.gpus_per_node or place.tasks_per_node)


def _algo_and_model(task: Task) -> tuple[str, str]:
    return task.cfg.choices["algo"], task.cfg.choices["model"]


def _recorded_speeds() -> dict[tuple[str, str], list[float]]:
    """(algorithm, model) -> seconds per step of every recorded run."""
    speeds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for manifest, status in _records():
        with suppress(KeyError, TypeError, ZeroDivisionError):
            choices = manifest["choices"]
            speeds[choices["algo"], choices["model"]].append(manifest["spent"]["device_seconds"] / status["step"])
    return speeds


def _records() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for path in runs_folder().glob(f"*/*/{MANIFEST}"):
        yield read_json(path), read_json(RunLayout(path.parent).status)
