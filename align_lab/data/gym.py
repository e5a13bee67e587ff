"""The package reasoning-gym: generated problems, and its own scoring of their answers (Apache-2.0).

Problem i of a data set with seed s is that of seed s + i, so that two seeds next to each other share most problems.
Some of its scorers evaluate the answer, or parts of the problem, as Python code. A completion is written by a model,
so these are not called, except for two tasks whose answers are checked to be plain arithmetic first.
"""

from __future__ import annotations

import functools
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from align_lab.base.bounds import LARGEST
from align_lab.base.errors import near

PACKAGE = "reasoning-gym"
ARITHMETIC = frozenset({"countdown", "puzzle24"})  # tasks whose answers are expressions; SymPy parses them with `eval`
EVALUATED = frozenset(  # tasks whose scorer passes the answer, or a field of the problem, to `eval`
    {
        *("binary_matrix", "bitwise_arithmetic", "intermediate_integration", "n_queens", "number_sorting"),
        *("polynomial_multiplication", "simple_integration", "spiral_matrix", "string_insertion"),
    }
)
PLAIN = re.compile(r"(?!.*(\*\*|//))[\d\s+\-*/().]{1,200}", re.DOTALL)  # no powers: 9**9**9 would never end


def task_problem(task: str, settings: Mapping[str, Any]) -> str:
    """What is wrong with a task's name or its settings, and what is allowed; empty where nothing is."""
    known = _tasks()
    if task not in known:
        return f"reasoning-gym has no task {task}: {near(task, known)}"
    if task in EVALUATED:
        return f"reasoning-gym scores {task} by evaluating text as Python code, which is not safe. Choose another task"
    config = known[task][1]
    names = sorted(field.name for field in fields(config) if field.name not in ("seed", "size"))
    if not isinstance(settings, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        return f"the settings of the task {task} are {settings!r}, and must be a mapping: {', '.join(names)}"
    for name, value in settings.items():
        if name not in names:
            return f"the task {task} has no setting {name}: {near(str(name), names)}"
        if not _is_like(value, getattr(config(), name)):
            return f"the task {task} does not accept {name}={value!r}: by default it is {getattr(config(), name)!r}"
    try:
        config(**settings).validate()
    except (AssertionError, TypeError, ValueError) as error:
        return f"the task {task} does not accept {dict(settings)}: {error}"
    return ""


def _is_like(value: Any, default: Any) -> bool:
    """Is it of the type of the default, as far as that is a number or a truth value, and of a size that has a use?"""
    if isinstance(value, int | float) and not -LARGEST <= value <= LARGEST:
        return False
    if isinstance(default, bool) or isinstance(value, bool):
        return type(value) is type(default)
    if isinstance(default, int):
        return isinstance(value, int)
    return isinstance(value, int | float) if isinstance(default, float) else True


def problems_of(task: str, settings: Mapping[str, Any], *, seed: int, draws: int) -> Iterator[dict[str, Any]]:
    """At most `draws` problems, each with `question`, `answer` and `metadata`; some may be equal."""
    import reasoning_gym

    dataset = reasoning_gym.create_dataset(task, seed=seed, size=draws, **settings)
    for i in range(draws):
        try:
            yield dataset[i]
        except ValueError:  # countdown gives up on some seeds
            continue


def score(entry: str, answer: str) -> float:
    """reasoning-gym's score of an answer to a problem, from 0 to 1. `entry`: the problem as JSON.

    An answer that may not be evaluated, because it is no plain arithmetic, scores 0. Raises ValueError for a task whose
    scorer would evaluate it nevertheless, or for a text that is no problem; the scorer may raise what it likes.
    """
    problem = json.loads(entry)
    task = str(problem["metadata"]["source_dataset"])
    if task in EVALUATED or task not in _tasks():
        raise ValueError(task_problem(task, {}))
    if task in ARITHMETIC and not PLAIN.fullmatch(answer):
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python's compiler, about what the model wrote
        return float(_scorer(task).score_answer(answer=answer, entry=problem))


@functools.cache
def _scorer(task: str) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(task, seed=0, size=1)


def _tasks() -> Mapping[str, Sequence[Any]]:
    """Name -> (data set, settings)."""
    from reasoning_gym.factory import DATASETS

    return DATASETS
