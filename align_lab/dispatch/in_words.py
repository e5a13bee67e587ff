"""Runs and stages as a person calls them: `rloo seeds 0 to 4, dpo seed 1`, without the hashes of their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from align_lab.base.run_config import RunConfig
from align_lab.dispatch import told_apart
from align_lab.dispatch.states import TaskState

FEW = 3  # seeds that are listed one by one also where they follow each other


@dataclass(frozen=True, kw_only=True)
class Who:
    """Whose run it is. `arm`: with the fields in which runs of one arm and seed differ."""

    arm: str
    seed: int | None


def of_study(runs: Sequence[RunConfig]) -> dict[str, Who]:
    """Name of a run -> whose it is."""
    apart = told_apart.of_study(runs, _arm)
    return {run.name: Who(arm=" ".join([_arm(run), *_fields(apart.get(run.name, {}))]), seed=run.seed) for run in runs}


def of_states(tasks: Iterable[TaskState]) -> dict[str, Who]:
    """The same of the runs among what `status` shows."""
    return {
        task.name: Who(arm=" ".join(filter(None, [task.arm or task.name, task.values])), seed=task.seed)
        for task in tasks
        if task.kind == "run"
    }


def runs(names: Iterable[str], who: Mapping[str, Who]) -> str:
    """`rloo seeds 0 to 4, dpo seed 1`; a run that nobody knows has its own name."""
    arms: dict[str, list[int]] = {}
    for name in names:
        whose = who.get(name, Who(arm=name, seed=None))
        arms.setdefault(whose.arm, []).extend([] if whose.seed is None else [whose.seed])
    return ", ".join(" ".join(filter(None, [arm, seeds(numbers)])) for arm, numbers in arms.items())


def seeds(numbers: Iterable[int]) -> str:
    """`seed 3`, `seeds 0, 1`, `seeds 0 to 4, 7`; empty for none."""
    listed = sorted(set(numbers))
    if not listed:
        return ""
    rows: list[list[int]] = []
    for number in listed:
        if rows and number == rows[-1][-1] + 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    texts = [f"{row[0]} to {row[-1]}" if len(row) > FEW else ", ".join(map(str, row)) for row in rows]
    return f"seed{'s' if len(listed) > 1 else ''} {', '.join(texts)}"


def stages(names: Iterable[str]) -> str:
    """`data, sft, 3 x human_ratings`: what the stages are, by the names of their artefacts."""
    kinds = Counter(name.rpartition("-")[0] or name for name in names)
    return ", ".join(kind if count == 1 else f"{count} x {kind}" for kind, count in kinds.items())


def _arm(run: RunConfig) -> str:
    return run["arm"] or run.choices["algo"]


def _fields(apart: Mapping[str, object]) -> list[str]:
    return [f"{key}={value}" for key, value in apart.items()][: told_apart.MOST]
