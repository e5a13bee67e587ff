"""From runs to jobs: shared stages first, then an array for each resource shape. Pure: no Slurm, no files, no clock."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from align_lab.base import vary
from align_lab.base.hardware import Placement
from align_lab.base.progress import counted
from align_lab.base.run_config import RunConfig
from align_lab.stages.dependencies import stages
from align_lab.stages.store import Stage

Kind = Literal["stage", "run", "look"]
PROGRAM = "align_lab.dispatch.job"  # of the jobs of runs and stages


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one job does: train a run, build a stage that runs share, or take a look at a study and go on with it.

    `needs`: the stages that it depends on, or the runs that a look waits for. `more`: what else its job receives.
    """

    name: str  # of the run's folder, or of the stage's artefact
    kind: Kind
    cfg: RunConfig
    placement: Placement
    needs: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    program: str = PROGRAM  # the module that its job runs


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
        """Runs, a stage or a look."""
        return self.tasks[0].kind

    @property
    def program(self) -> str:
        """The module that each of its jobs runs."""
        return self.tasks[0].program

    def placed(self, **changes: Any) -> JobArray:
        """The same tasks, with other values of these fields of their placement."""
        place = dataclasses.replace(self.placement, **changes)
        return JobArray(tasks=tuple(dataclasses.replace(task, placement=place) for task in self.tasks))


def plan(study: str, runs: Sequence[RunConfig], *, skipped: Mapping[str, Skipped], built: Collection[str]) -> Plan:
    """The jobs of a study: runs that are not `skipped` (finished, queued, running), and stages that are not `built`."""
    stages: dict[tuple[str, str], Task] = {}
    of_arm: dict[str, tuple[Placement, list[Task]]] = {}
    to_train: list[Task] = []
    for cfg in counted([cfg for cfg in runs if cfg.name not in skipped], "planned"):
        if (arm := but_for_the_seed(cfg)) not in of_arm:
            placement = placement_of(cfg)
            of_arm[arm] = placement, [task for task in stage_tasks(cfg, placement) if task.name not in built]
        placement, missing = of_arm[arm]
        for task in missing:
            needs = tuple(name for name in task.needs if name not in built)
            stages.setdefault((placement.executor, task.name), dataclasses.replace(task, needs=needs))
        needs = tuple(task.name for task in missing)
        to_train.append(Task(name=cfg.name, kind="run", cfg=cfg, placement=placement, needs=needs))
    reasons = tuple(skipped[cfg.name] for cfg in runs if cfg.name in skipped)
    return Plan(study=study, tasks=(*stages.values(), *to_train), skipped=reasons)


def but_for_the_seed(cfg: RunConfig) -> str:
    """A text that is equal for runs with the same placement and stages: a seed may move what a run starts from."""
    moved = vary.of(cfg.values) != vary.USUAL
    return json.dumps(cfg.values if moved else {**cfg.values, "seed": 0}, sort_keys=True)


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
        **task.more,
    }
