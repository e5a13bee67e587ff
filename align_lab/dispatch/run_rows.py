"""The runs of a study as rows that a person can tell apart: arm, seed, and the fields in which two of them differ."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from align_lab.base.files import read_json
from align_lab.dispatch import told_apart
from align_lab.dispatch.states import TaskState
from align_lab.record.layout import RunLayout

LISTED = 12  # arms in a line
NAME = re.compile(r"(?P<algo>[^-]+)-.*-s(?P<seed>\d+)-[0-9a-f]{8}")


def described(study: Path, tasks: Sequence[TaskState], expected: Mapping[str, Mapping[str, Any]]) -> list[TaskState]:
    """The tasks, in which each run has its arm and seed, and `values` where two runs of an arm have the same seed.

    `expected`: what the study has written of its runs; of a run that was started alone its folder says it.
    """
    tasks = [_identified(study, task) if task.kind == "run" and not task.arm else task for task in tasks]
    arms: dict[str, dict[str, int | None]] = defaultdict(dict)
    for task in tasks:
        if task.kind == "run":
            arms[task.arm][task.name] = task.seed
    shown: dict[str, str] = {}
    for seeds in arms.values():
        if told_apart.alike(list(seeds.values())):
            apart = {name: _config(study / name) or expected.get(name, {}).get("apart", {}) for name in seeds}
            shown |= told_apart.labels(apart, seeds)
    return [replace(task, values=shown[task.name]) if task.name in shown else task for task in tasks]


def _identified(study: Path, task: TaskState) -> TaskState:
    """With arm and seed from its manifest, or, before that is written, from its name."""
    match = NAME.fullmatch(task.name)
    arm = str(_config(study / task.name).get("arm") or (match["algo"] if match else ""))
    return replace(task, arm=arm, seed=int(match["seed"]) if match else task.seed)


def _config(run: Path) -> dict[str, Any]:
    """The leaves of its config; empty before its manifest is written, or where that is damaged."""
    config = read_json(RunLayout(run).manifest).get("config", {})
    return cast("dict[str, Any]", config) if isinstance(config, dict) else {}


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """The finished runs of one arm: how many, and the mean of what decides at their ends."""

    arm: str
    seeds: int
    mean: float
    metric: str


def results(tasks: Sequence[TaskState]) -> list[ArmResult]:
    """Of each arm that has finished runs, the highest mean first. The order is no verdict: that is `compare`'s."""
    done: dict[tuple[str, str], list[float]] = defaultdict(list)
    for task in tasks:
        value = task.decides if task.decides is not None else task.score
        if task.kind == "run" and task.state == "done" and value is not None:
            done[f"{task.arm} {task.values}".strip(), task.metric or "score"].append(value)
    means = [
        ArmResult(arm=arm, seeds=len(values), mean=sum(values) / len(values), metric=metric)
        for (arm, metric), values in done.items()
    ]
    return sorted(means, key=lambda one: -one.mean)


def results_line(study: str, found: Sequence[ArmResult]) -> str:
    """`score at the end: rloo 0.52 (3 seeds), dpo 0.31 (2 seeds)`, of LISTED arms at most, and what compares them."""
    metrics = dict.fromkeys(one.metric for one in found)
    parts = (f"{metric} at the end: {_arms([one for one in found if one.metric == metric])}" for metric in metrics)
    asks = "Which is better, and how surely" if len(found) > 1 else "All of it"
    return f"{'; '.join(parts)}. {asks}: align_lab compare {study}"


def _arms(found: Sequence[ArmResult]) -> str:
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return ", ".join(f"{one.arm} {one.mean:.2f} ({_seeds(one.seeds)})" for one in found[:LISTED]) + more


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"
