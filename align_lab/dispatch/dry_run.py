"""`dry_run=true`: the plan as a person reads it. Jobs, what is skipped and why, resources, the estimate, the sbatch scripts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sized
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.markup import escape

from align_lab import preflight
from align_lab.base.hardware import Placement
from align_lab.base.paths import runs_folder
from align_lab.config.study import Study
from align_lab.dispatch import slurm, status_table
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.plan import JobArray, Plan, Task, batches
from align_lab.dispatch.reconcile import Existing
from align_lab.dispatch.submit import script
from align_lab.record.layout import MANIFEST, RunLayout


def describe(study: Study, todo: Plan, now: Existing, console: Console) -> None:
    """Print the plan; nothing is written or submitted."""
    console.print(f"[bold]{escape(study.name)}[/] {escape(study.settings.question)}")
    console.print(f"{count(study.runs, 'run')}, {len(todo.runs)} to do, {len(study.duplicates)} asked for twice")
    for line in status_table.summary(todo.kept):
        console.print(f"  left alone: {escape(line)}")
    planned = batches([task for task in todo.tasks if task.name not in now.queued], max_array=_limit(todo))
    for name, job in now.queued.items():
        console.print(f"  waits for {escape(name)}, which job {job} builds")
    for batch in planned:
        waits = f", after {', '.join(batch.needs)}" if batch.needs else ""
        console.print(f"{batch.kind:<6}{len(batch.tasks):>4} x {escape(resources(batch.placement))}{escape(waits)}")
        for task in batch.tasks:
            console.print(f"        {escape(task.name)}")
        for line in memory(batch):
            console.print(f"        [dim]{escape(line)}[/]")
    console.print(estimate(todo))
    for batch in planned:
        if batch.placement.executor == "slurm":
            console.print(f"\n[dim]# {batch.kind} {escape(batch.tasks[0].name)}[/]")
            console.print(escape(_script(study, batch)))
    console.print("\nNothing was submitted. Without dry_run=true the same command does it.")


def _limit(todo: Plan) -> int:
    """The cluster's longest array; Slurm's own default where no cluster answers."""
    with suppress(slurm.SlurmError):
        return slurm.max_array() if any(task.placement.executor == "slurm" for task in todo.tasks) else 1001
    return 1001


def count(items: Sized, noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def resources(place: Placement) -> str:
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


def memory(batch: JobArray) -> list[str]:
    """What a process of each kind of run will hold at its peak, by term."""
    if batch.kind == "stage":
        return []
    kinds = {_like(task): preflight.planned(task.cfg) for task in batch.tasks}
    return [
        f"memory of {algo} on {model}: about {found[1].sentence()}, in the {found[1].phase}"
        + (f", of {found[2]}" if found[2] else "")
        for (algo, model), found in kinds.items()
        if found is not None
    ]


def _script(study: Study, batch: JobArray) -> str:
    ledger = Ledger.of(runs_folder() / study.name)
    after = tuple(f"<{need}>" for need in batch.needs)
    return script(ledger, ledger.card(study.name, batch, code=Path("SNAPSHOT"), digest="HASH"), batch, after=after)


def estimate(todo: Plan) -> str:
    """Device-hours, from what runs of the same algorithm and model took for a step here before."""
    pace = {key: mean(values) for key, values in _recorded().items()}
    known = [(task, pace[_like(task)]) for task in todo.runs if _like(task) in pace]
    unknown = sorted({_like(task)[0] for task in todo.runs if _like(task) not in pace})
    hours = sum(step * task.cfg["train"]["steps"] * devices(task.placement) for task, step in known) / 3600
    text = f"about {hours:.2f} device-hours for {len(known)} runs, from recorded ones" if known else ""
    missing = f"no record yet to estimate {', '.join(unknown)} from" if unknown else ""
    return "; ".join(filter(None, (text, missing))) or "nothing to do"


def devices(place: Placement) -> int:
    return place.nodes * (place.gpus_per_node or place.tasks_per_node)


def _like(task: Task) -> tuple[str, str]:
    return task.cfg.choices["algo"], task.cfg.choices["model"]


def _recorded() -> dict[tuple[str, str], list[float]]:
    """(algorithm, model) -> seconds a step of every recorded run."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for known, status in _records():
        with suppress(KeyError, TypeError, ZeroDivisionError):
            choices = known["choices"]
            found[choices["algo"], choices["model"]].append(known["spent"]["device_seconds"] / status["step"])
    return found


def _records() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for path in runs_folder().glob(f"*/*/{MANIFEST}"):
        with suppress(OSError, ValueError):
            yield json.loads(path.read_text()), json.loads(RunLayout(path.parent).status.read_text())
