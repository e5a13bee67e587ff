"""A stage that failed, and what needed it: the reason stands once, at the stage, with the number of its runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from align_lab.dispatch.states import TaskState

NAMED = re.compile(r"its stage (\S+) failed(?:: |$)")  # as `state_rules` says it of what needs the stage


def said_once(tasks: Sequence[TaskState]) -> list[TaskState]:
    """The tasks as people read them. Programs get the reason with every task."""
    failed = {task.name for task in tasks if task.kind == "stage" and task.state == "failed"}
    first = {task.name: NAMED.findall(task.why) for task in tasks if NAMED.match(task.why)}  # the last is the origin
    needed = Counter(first[task.name][-1] for task in tasks if task.kind == "run" and task.name in first)
    return [_shown(task, failed, needed[task.name]) for task in tasks]


def needs_one(task: TaskState) -> bool:
    """Did it fail because of a stage that it needs?"""
    return NAMED.match(task.why) is not None


def _shown(task: TaskState, failed: set[str], runs: int) -> TaskState:
    named = NAMED.match(task.why)
    if named and named[1] in failed:
        return replace(task, why=f"its stage {named[1]} failed")
    if runs and task.name in failed:
        who = "1 run of the study needs" if runs == 1 else f"{runs} runs of the study need"
        return replace(task, why=f"{task.why} ({who} it)")
    return task
