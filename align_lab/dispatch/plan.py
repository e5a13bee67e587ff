"""From runs to jobs: shared stages first, then one array for each resource shape. Pure: no Slurm, no files, no clock."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from align_lab.base.hardware import Placement
from align_lab.base.registry import construct
from align_lab.base.run_config import RunConfig
from align_lab.stages.dependencies import stages
from align_lab.stages.store import Stage

Kind = Literal["stage", "run"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one job does: train a run, or build an artefact that runs share. `needs` names the artefacts it waits for."""

    name: str  # the run's folder, or the artefact's
    kind: Kind
    cfg: RunConfig
    placement: Placement
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A run that is not submitted, and why."""

    name: str
    state: str
    why: str
    where: Path | None = None  # of a run that another study finished


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`tasks` are in an order in which whatever is needed comes first."""

    study: str
    tasks: tuple[Task, ...]
    kept: tuple[Kept, ...]

    @property
    def runs(self) -> list[Task]:
        return [task for task in self.tasks if task.kind == "run"]


@dataclass(frozen=True, kw_only=True)
class JobArray:
    """Tasks that are submitted together: one job, or one array."""

    tasks: tuple[Task, ...]

    @property
    def placement(self) -> Placement:
        return self.tasks[0].placement

    @property
    def needs(self) -> tuple[str, ...]:
        return self.tasks[0].needs

    @property
    def kind(self) -> Kind:
        return self.tasks[0].kind


def plan(study: str, runs: Iterable[RunConfig], *, kept: Mapping[str, Kept], built: Collection[str]) -> Plan:
    """The jobs of a study: runs that are not in `kept` (finished, queued, running), and the stages not in `built`."""
    tasks: dict[tuple[str, str], Task] = {}
    for cfg in runs:
        if cfg.name in kept:
            continue
        placement = placement_of(cfg)
        missing = [task for task in stage_tasks(cfg, placement) if task.name not in built]
        for task in missing:
            needs = tuple(name for name in task.needs if name not in built)
            tasks.setdefault((placement.executor, task.name), dataclasses.replace(task, needs=needs))
        needs = tuple(task.name for task in missing)
        tasks[placement.executor, cfg.name] = Task(name=cfg.name, kind="run", cfg=cfg, placement=placement, needs=needs)
    ordered = sorted(tasks.values(), key=lambda task: task.kind == "run")
    return Plan(study=study, tasks=tuple(ordered), kept=tuple(kept[cfg.name] for cfg in runs if cfg.name in kept))


def stage_tasks(cfg: RunConfig, placement: Placement) -> Iterator[Task]:
    """A job for every artefact of a run, inputs before what is made of them. It needs one process, wherever the run goes."""
    alone = dataclasses.replace(placement, nodes=1, tasks_per_node=1, max_parallel=None)
    for name, stage in artefacts(cfg).items():
        needs = tuple(other.name for other in stage.closure() if other.name != name)
        gpus = min(1, placement.gpus_per_node) if stage.gpu else 0
        yield Task(
            name=name, kind="stage", cfg=cfg, placement=dataclasses.replace(alone, gpus_per_node=gpus), needs=needs
        )


def artefacts(cfg: RunConfig) -> dict[str, Stage]:
    """Name of an artefact -> the stage that builds it, for all that a run starts from, inputs first."""
    return {stage.name: stage for part in stages(cfg).values() for stage in part.closure()}


def batches(tasks: Iterable[Task], *, max_array: int) -> list[JobArray]:
    """One array for each resource shape and set of stages that it waits for, none longer than `max_array`."""
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        alone = task.name if task.kind == "stage" else ""
        groups[json.dumps([alone, dataclasses.asdict(task.placement), sorted(task.needs)])].append(task)
    return [JobArray(tasks=tuple(part)) for group in groups.values() for part in _parts(group, max_array)]


def _parts(group: Sequence[Task], size: int) -> Iterator[Sequence[Task]]:
    return (group[start : start + size] for start in range(0, len(group), size))


def placement_of(cfg: RunConfig) -> Placement:
    return construct(Placement, cfg["hardware"]["placement"])


def payload(task: Task) -> dict[str, Any]:
    """What crosses to the job: plain values, nothing that must be unpickled."""
    return {
        "name": task.name,
        "kind": task.kind,
        "values": dict(task.cfg.values),
        "choices": dict(task.cfg.choices),
    }
