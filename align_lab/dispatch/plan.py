"""From runs to jobs: shared stages first, then an array for each resource shape. Pure: no Slurm, no files, no clock."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from align_lab.base.hardware import Placement
from align_lab.base.run_config import RunConfig
from align_lab.stages.dependencies import stages
from align_lab.stages.store import Stage

Kind = Literal["stage", "run"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one job does: train a run, or build a stage that runs share. `needs` names the stages that it depends on."""

    name: str  # of the run's folder, or of the stage's artefact
    kind: Kind
    cfg: RunConfig
    placement: Placement
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A run that is not submitted, and why."""

    name: str
    state: str
    why: str
    folder: Path | None = None  # of a run that another study finished


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`tasks` are in topological order: stages before the tasks that need them."""

    study: str
    tasks: tuple[Task, ...]
    skipped: tuple[Skipped, ...]

    @property
    def runs(self) -> list[Task]:
        """The tasks that train a run."""
        return [task for task in self.tasks if task.kind == "run"]


@dataclass(frozen=True, kw_only=True)
class JobArray:
    """Tasks that are submitted together, as one job or one array. All have the same placement, needs and kind."""

    tasks: tuple[Task, ...]

    @property
    def placement(self) -> Placement:
        """The resources of each of its jobs."""
        return self.tasks[0].placement

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages that it depends on."""
        return self.tasks[0].needs

    @property
    def kind(self) -> Kind:
        """Runs or stages."""
        return self.tasks[0].kind


def plan(study: str, runs: Sequence[RunConfig], *, skipped: Mapping[str, Skipped], built: Collection[str]) -> Plan:
    """The jobs of a study: runs that are not `skipped` (finished, queued, running), and stages that are not `built`."""
    stages: dict[tuple[str, str], Task] = {}
    to_train: list[Task] = []
    for cfg in (cfg for cfg in runs if cfg.name not in skipped):
        placement = placement_of(cfg)
        missing = [task for task in stage_tasks(cfg, placement) if task.name not in built]
        for task in missing:
            needs = tuple(name for name in task.needs if name not in built)
            stages.setdefault((placement.executor, task.name), dataclasses.replace(task, needs=needs))
        needs = tuple(task.name for task in missing)
        to_train.append(Task(name=cfg.name, kind="run", cfg=cfg, placement=placement, needs=needs))
    reasons = tuple(skipped[cfg.name] for cfg in runs if cfg.name in skipped)
    return Plan(study=study, tasks=(*stages.values(), *to_train), skipped=reasons)


def stage_tasks(cfg: RunConfig, placement: Placement) -> Iterator[Task]:
    """A task for every stage of a run, inputs first. It needs one process, however many the run has."""
    single = dataclasses.replace(placement, nodes=1, tasks_per_node=1, max_parallel=None)
    for name, stage in artefacts(cfg).items():
        needs = tuple(other.name for other in stage.closure() if other.name != name)
        gpus = min(1, placement.gpus_per_node) if stage.gpu else 0
        resources = dataclasses.replace(single, gpus_per_node=gpus)
        yield Task(name=name, kind="stage", cfg=cfg, placement=resources, needs=needs)


def artefacts(cfg: RunConfig) -> dict[str, Stage]:
    """Name of an artefact -> the stage that builds it, for all that a run starts from, inputs first."""
    return {stage.name: stage for part in stages(cfg).values() for stage in part.closure()}


def job_arrays(tasks: Iterable[Task], *, max_size: int) -> list[JobArray]:
    """One array for each resource shape and set of needed stages, split at `max_size`; a stage is a job by itself."""
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        stage = task.name if task.kind == "stage" else ""
        groups[json.dumps([stage, dataclasses.asdict(task.placement), sorted(task.needs)])].append(task)
    return [JobArray(tasks=tuple(part)) for group in groups.values() for part in _split(group, max_size)]


def _split(group: Sequence[Task], size: int) -> Iterator[Sequence[Task]]:
    return (group[start : start + size] for start in range(0, len(group), size))


def placement_of(cfg: RunConfig) -> Placement:
    """What the run's own `hardware` asks for."""
    return cfg.hardware.placement


def payload(task: Task) -> dict[str, Any]:
    """What the job receives: plain values, nothing that must be unpickled."""
    return {
        "name": task.name,
        "kind": task.kind,
        "values": dict(task.cfg.values),
        "choices": dict(task.cfg.choices),
    }
