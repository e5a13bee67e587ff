"""`dry_run=true` prints the plan: jobs, skipped runs with reasons, resources, estimated cost, sbatch scripts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence, Sized
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console

from align_lab import preflight
from align_lab.base import answer
from align_lab.base.files import read_json
from align_lab.base.hardware import Placement
from align_lab.base.paths import runs_folder
from align_lab.base.run_config import RunConfig
from align_lab.config import equal_settings, pairing
from align_lab.config.study import Study
from align_lab.dispatch import container, parallel, slurm, status_table
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.plan import JobArray, Plan, Task, artefacts, job_arrays, placement_of
from align_lab.dispatch.reconcile import Existing
from align_lab.dispatch.slurm_commands import SlurmError
from align_lab.dispatch.submit import script
from align_lab.record.layout import MANIFEST, RunLayout
from align_lab.record.terminal import escape
from align_lab.stages.store import CARD, shared


def describe(study: Study, todo: Plan, existing: Existing, console: Console) -> None:
    """Print the plan; nothing is written or submitted."""
    if answer.wanted():
        answer.give(_as_json(study, todo, existing))
    console.print(f"[bold]{escape(study.name)}[/] {escape(study.settings.question)}")
    if study.design:
        console.print(escape(f"arms: {study.design.words}"))
    duplicates = f"; {count(study.duplicates, 'duplicate')}" if study.duplicates else ""
    stages = [task for task in todo.tasks if task.kind == "stage" and task.name not in existing.queued]
    first = f", {count(stages, 'stage')} first" if stages else ""
    console.print(f"{count(study.runs, 'run')}, {len(todo.runs)} to do{first}{duplicates}")
    if line := pairing.sentence(study.settings, study.runs):
        console.print(escape(line))
    for line in status_table.skipped_lines(todo.skipped):
        console.print(f"  skipped: {escape(line)}")
    if line := equal_settings.caution(study.runs):
        console.print(f"  [yellow]{escape(line)}[/]")
    for name, job in existing.queued.items():
        console.print(f"  depends on {escape(name)}, which job {job} builds")
    new_tasks = [task for task in todo.tasks if task.name not in existing.queued]
    batches = job_arrays(new_tasks, max_size=_max_array_size(todo))
    for batch in batches:
        _describe_batch(batch, console)
    console.print(estimate(todo))
    _print_scripts(study, batches, console)
    console.print("\nNothing was submitted. Without dry_run=true the same command submits this plan.")


def _as_json(study: Study, todo: Plan, existing: Existing) -> dict[str, Any]:
    """The plan for programs."""
    tasks = [
        {"name": task.name, "kind": task.kind, "seed": task.cfg.seed, "needs": list(task.needs)}
        | {"resources": resources_of(task.placement)}
        for task in todo.tasks
        if task.name not in existing.queued
    ]
    return {
        "study": study.name,
        "question": study.settings.question,
        "paired": study.settings.paired,
        "tasks": tasks,
        "skipped": [{"name": one.name, "why": one.why} for one in todo.skipped],
        "queued": dict(existing.queued),
        "caution": equal_settings.caution(study.runs),
        "estimate": estimate(todo),
    }


def _describe_batch(batch: JobArray, console: Console) -> None:
    dependencies = f", after {', '.join(batch.needs)}" if batch.needs else ""
    resources = f"{len(batch.tasks):>4} x {resources_of(batch.placement)}"
    console.print(f"{batch.kind:<6}{escape(resources)}{escape(dependencies)}")
    for task in batch.tasks:
        console.print(f"        {escape(task.name)}{_of_seed(task)}")
    for line in peak_memory(batch):
        console.print(f"        [dim]{escape(line)}[/]")


def _of_seed(task: Task) -> str:
    """Of a stage that varies: which runs it is built for."""
    if task.kind == "run" or task.name in artefacts(RunConfig({**task.cfg.values, "vary": []}, task.cfg.choices)):
        return ""
    return f" (seed {task.cfg.seed})"


def _print_scripts(study: Study, batches: Sequence[JobArray], console: Console) -> None:
    folder = runs_folder() / study.name
    ledger, most = Ledger.of(folder), parallel.bound(map(placement_of, study.runs))
    of_cluster = [batch for batch in batches if batch.placement.executor == "slurm"]
    for batch, behind in parallel.foreseen(folder, of_cluster, most=most):
        submission = ledger.draft(study.name, batch, code=Path("SNAPSHOT"), digest="HASH")
        console.print(f"\n[dim]# {batch.kind} {escape(batch.tasks[0].name)}[/]")
        lines = script(ledger, submission, batch, after=[f"<{name}>" for name in batch.needs], behind=behind)
        console.print(lines, markup=False)


def _max_array_size(todo: Plan) -> int:
    """The cluster's limit; Slurm's default where no cluster answers."""
    if any(task.placement.executor == "slurm" for task in todo.tasks):
        with suppress(SlurmError):
            return slurm.max_array_size()
    return slurm.DEFAULT_MAX_ARRAY_SIZE


def count(items: Sized, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def resources_of(place: Placement) -> str:
    """Nodes, GPUs, cores, memory, time limit, cluster, partition and image of one job."""
    if place.executor != "slurm":
        return f"{place.executor}, {count(range(place.cpus_per_task), 'core')}"
    parts = [
        count(range(place.nodes), "node"),
        f"{place.tasks_per_node} processes" if place.tasks_per_node > 1 else "",
        count(range(place.gpus_per_node), "GPU") if place.gpus_per_node else "",
        count(range(place.cpus_per_task), "core"),
        f"{place.mem_gb:g} GiB" if place.mem_gb else "",
        f"{status_table.duration(60.0 * place.minutes)}",
        f"cluster {place.cluster}" if place.cluster else "",
        f"partition {place.partition}" if place.partition else "",
        f"in {place.container} by {container.runtime(place)}" if place.container else "",
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
    """Device-hours of runs and of the stages that they need, from what earlier ones of the same kind took."""
    seconds_per_step = {key: mean(values) for key, values in _recorded_speeds().items()}
    known = [(task, seconds_per_step.get(_algo_and_model(task))) for task in todo.runs]
    hours = [
        seconds * task.cfg.train.planned_steps * devices(task.placement) / 3600
        for task, seconds in known
        if seconds is not None
    ]
    unknown = sorted({_algo_and_model(task)[0] for task, seconds in known if seconds is None})
    stages, without = _of_stages([task for task in todo.tasks if task.kind == "stage"])
    parts = [(hours, "run"), (stages, "stage")]
    texts = [f"{sum(each):.2f} device-hours for {count(each, noun)}" for each, noun in parts if each]
    text = f"about {' and '.join(texts)}, estimated from recorded ones"
    missing = f"no recorded run to estimate {', '.join(unknown)} from"
    lacking = f"no recorded stage to estimate {', '.join(without)} from"
    said = [*([text] if texts else []), *([missing] if unknown else []), *([lacking] if without else [])]
    return "; ".join(said) or "nothing to do"


def _of_stages(tasks: Sequence[Task]) -> tuple[list[float], list[str]]:
    """Device-hours of each stage of which one of its kind was built here, and the kinds of the others."""
    seconds, hours, unknown = _recorded_stages(), list[float](), set[str]()
    for task in tasks:
        stage = artefacts(task.cfg)[task.name]
        if same := seconds.get((stage.kind, stage.settings.get("name"))):
            hours.append(mean(same) / 3600)
        else:
            unknown.add(stage.kind)
    return hours, sorted(unknown)


def _recorded_stages() -> dict[tuple[str, Any], list[float]]:
    """(kind, component) -> seconds of every artefact of this cache."""
    seconds: dict[tuple[str, Any], list[float]] = defaultdict(list)
    for path in shared().root.glob(f"*/{CARD}"):
        card = read_json(path)
        with suppress(KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
            seconds[card["kind"], card["settings"].get("name")].append(float(card["seconds"]))
    return seconds


def devices(place: Placement) -> int:
    """GPUs of a job, or its processes where it has no GPUs."""
    return place.nodes * (place.gpus_per_node or place.tasks_per_node)


def _algo_and_model(task: Task) -> tuple[str, str]:
    return task.cfg.choices["algo"], task.cfg.choices["model"]


def _recorded_speeds() -> dict[tuple[str, str], list[float]]:
    """(algorithm, model) -> seconds per step of every recorded run."""
    speeds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for manifest, status in _records():
        with suppress(KeyError, TypeError, ArithmeticError):
            choices = manifest["choices"]
            speeds[choices["algo"], choices["model"]].append(manifest["spent"]["device_seconds"] / status["step"])
    return speeds


def _records() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for path in runs_folder().glob(f"*/*/{MANIFEST}"):
        yield read_json(path), read_json(RunLayout(path.parent).status)
