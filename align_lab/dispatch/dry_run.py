"""`dry_run=true` prints the plan: jobs, skipped runs with reasons, resources, estimated cost, sbatch scripts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from align_lab import preflight
from align_lab.base import answer
from align_lab.base.hardware import Placement
from align_lab.base.paths import runs_folder
from align_lab.base.run_config import RunConfig
from align_lab.config import equal_settings, pairing
from align_lab.config.study import Study
from align_lab.dispatch import container, in_words, lengths, parallel, slurm, status_table
from align_lab.dispatch.estimate import estimate
from align_lab.dispatch.in_words import Who
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.local_pool import visible_gpus
from align_lab.dispatch.plan import JobArray, Plan, Task, artefacts, job_arrays, placement_of
from align_lab.dispatch.reconcile import Existing
from align_lab.dispatch.slurm_commands import SlurmError
from align_lab.dispatch.status_table import count
from align_lab.dispatch.submit import script
from align_lab.record.terminal import escape


def describe(study: Study, todo: Plan, existing: Existing, console: Console) -> None:
    """Print the plan; nothing is written or submitted."""
    if answer.wanted():
        answer.give(_as_json(study, todo, existing))
    console.print(f"[bold]{escape(study.name)}[/] {escape(study.settings.question)}")
    if study.design:
        console.print(escape(f"arms: {study.design.words}"))
    for line in lengths.lines(study.runs):
        console.print(escape(line))
    duplicates = f"; {count(study.duplicates, 'duplicate')}" if study.duplicates else ""
    stages = [task for task in todo.tasks if task.kind == "stage" and task.name not in existing.queued]
    first = f", {count(stages, 'stage')} first" if stages else ""
    console.print(f"{count(study.runs, 'run')}, {len(todo.runs)} to do{first}{duplicates}")
    if line := pairing.sentence(study.settings, study.runs):
        console.print(escape(line))
    who = in_words.of_study(study.runs)
    for line in status_table.skipped_lines(todo.skipped, who):
        console.print(f"  skipped: {escape(line)}")
    if line := equal_settings.caution(study.runs):
        console.print(f"  [yellow]{escape(line)}[/]")
    for name, job in existing.queued.items():
        console.print(f"  depends on {escape(name)}, which job {job} builds")
    new_tasks = [task for task in todo.tasks if task.name not in existing.queued]
    batches = job_arrays(new_tasks, max_size=_max_array_size(todo))
    for batch in batches:
        _describe_batch(batch, who, console)
    console.print(estimate(todo))
    for line in missing_gpus(todo.runs):
        console.print(f"[yellow]{escape(line)}[/]")
    _print_scripts(study, batches, who, console)
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


def _describe_batch(batch: JobArray, who: Mapping[str, Who], console: Console) -> None:
    dependencies = f", after {in_words.stages(batch.needs)}" if batch.needs else ""
    resources = f"{len(batch.tasks):>4} x {resources_of(batch.placement)}"
    console.print(f"{batch.kind:<6}{escape(resources)}{escape(dependencies)}")
    if batch.kind == "run":
        console.print(f"        {escape(in_words.runs([task.name for task in batch.tasks], who))}")
    else:
        for task in batch.tasks:
            console.print(f"        {escape(task.name)}{_of_seed(task)}")
    for line in peak_memory(batch):
        console.print(f"        [dim]{escape(line)}[/]")


def _of_seed(task: Task) -> str:
    """Of a stage that varies: which runs it is built for."""
    if task.kind == "run" or task.name in artefacts(RunConfig({**task.cfg.values, "vary": []}, task.cfg.choices)):
        return ""
    return f" (seed {task.cfg.seed})"


def _print_scripts(study: Study, batches: Sequence[JobArray], who: Mapping[str, Who], console: Console) -> None:
    folder = runs_folder() / study.name
    ledger, most = Ledger.of(folder), parallel.bound(map(placement_of, study.runs))
    of_cluster = [batch for batch in batches if batch.placement.executor == "slurm"]
    common: set[str] = set()
    for batch, behind in parallel.foreseen(folder, of_cluster, most=most):
        submission = ledger.draft(study.name, batch, code=Path("SNAPSHOT"), digest="HASH")
        names = [task.name for task in batch.tasks]
        of = in_words.runs(names, who) if batch.kind == "run" else names[0]
        console.print(f"\n[dim]# {batch.kind} {escape(of)}[/]")
        lines = script(ledger, submission, batch, after=[f"<{name}>" for name in batch.needs], behind=behind)
        console.print("\n".join(but_for(lines.splitlines(), common)), markup=False)
        common = common or {*lines.splitlines()}


def but_for(script: Iterable[str], common: Collection[str]) -> list[str]:
    """The lines of a script without those that the first one has too, which every script of an array says of itself."""
    lines = list(script)
    shown = [line for line in lines if line not in common or line.startswith("#SBATCH --array")]
    rest = len(lines) - len(shown)
    return [*shown, *([f"# the other {rest} lines are those of the first script"] if rest else [])]


def missing_gpus(runs: Iterable[Task]) -> list[str]:
    """Runs that this machine is to compute on a GPU, where it has none of NVIDIA's."""
    asking = {
        task.cfg.choices["hardware"]
        for task in runs
        if task.placement.executor != "slurm" and task.cfg.hardware.numerics.device == "cuda"
    }
    if not asking or visible_gpus():
        return []
    names = ", ".join(f"hardware={name}" for name in sorted(asking))
    return [f"no GPU is seen on this machine (nvidia-smi), and {names} computes on one"]


def _max_array_size(todo: Plan) -> int:
    """The cluster's limit; Slurm's default where no cluster answers."""
    if any(task.placement.executor == "slurm" for task in todo.tasks):
        with suppress(SlurmError):
            return slurm.max_array_size()
    return slurm.DEFAULT_MAX_ARRAY_SIZE


def resources_of(place: Placement) -> str:
    """Nodes, GPUs, cores, memory, time limit, cluster, partition and image of one job."""
    if place.executor != "slurm":
        return ", ".join(filter(None, [place.executor, _gpus(place), count(range(place.cpus_per_task), "core")]))
    parts = [
        count(range(place.nodes), "node"),
        f"{place.tasks_per_node} processes" if place.tasks_per_node > 1 else "",
        _gpus(place),
        count(range(place.cpus_per_task), "core"),
        f"{place.mem_gb:g} GiB" if place.mem_gb else "",
        f"{status_table.duration(60.0 * place.minutes)}",
        f"cluster {place.cluster}" if place.cluster else "",
        f"partition {place.partition}" if place.partition else "",
        f"in {place.container} by {container.runtime(place)}" if place.container else "",
    ]
    return "slurm, " + ", ".join(filter(None, parts))


def _gpus(place: Placement) -> str:
    return count(range(place.gpus_per_node), "GPU") if place.gpus_per_node else ""


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


def _algo_and_model(task: Task) -> tuple[str, str]:
    return task.cfg.choices["algo"], task.cfg.choices["model"]
