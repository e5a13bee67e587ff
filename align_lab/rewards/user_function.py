"""A reward function of a user, in the child process: loaded from its file, called as TRL calls it, its result checked.

TRL's contract (docs/source/grpo_trainer.md, "Using a custom reward function"): keyword arguments `prompts`,
`completions` and one list for every column; sync or async; a list with a number or None for each completion.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import linecache
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

WIDTH = 100  # characters of a wrong value in a message
MODULE = "align_lab_user_reward"  # the name under which the file is imported


def load(file: str, function: str) -> Callable[[Mapping[str, Any]], list[Any]]:
    """The function, which takes {"prompts", "completions", "columns"}. Its file may import modules beside it."""
    path = Path(file).resolve()
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    linecache.lazycache(str(path), vars(module))  # the lines of a traceback are those that were loaded
    spec.loader.exec_module(module)
    called = getattr(module, function)
    accepts = _accepted(called)

    def call(batch: Mapping[str, Any]) -> list[Any]:
        given = {**batch["columns"], "prompts": batch["prompts"], "completions": batch["completions"]}
        result = called(**{name: value for name, value in given.items() if accepts(name)})
        if inspect.isawaitable(result):
            result = asyncio.run(_awaited(result))
        return outcomes(result, len(batch["completions"]))

    return call


async def _awaited(result: Any) -> Any:
    return await result


def _accepted(function: Callable[..., Any]) -> Callable[[str], bool]:
    """Does the function take an argument of this name? One with `**kwargs` takes any."""
    parameters = inspect.signature(function).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return lambda name: True
    return parameters.__contains__


def outcomes(result: Any, count: int) -> list[Any]:
    """A number, None or {"wrong": TEXT} for each completion. Raises TypeError or ValueError for anything but a list."""
    if hasattr(result, "tolist"):  # a tensor or an array
        result = result.tolist()
    if not isinstance(result, Iterable) or isinstance(result, str | bytes | Mapping):
        raise TypeError(
            f"the function returned {_shown(result)}: it must return a list with a number or None for each completion"
        )
    values = list(result)
    if len(values) != count:
        raise ValueError(
            f"the function returned {len(values)} scores for {count} completion{'s' * (count != 1)}: it must return "
            "one for each, in their order"
        )
    return [_outcome(value) for value in values]


def _outcome(value: Any) -> Any:
    if value is None:
        return None
    plain = value.item() if hasattr(value, "item") and getattr(value, "size", 1) in (1, None) else value
    if callable(getattr(value, "numel", None)):  # a tensor's `size` is a method
        plain = value.item() if value.numel() == 1 else value
    if isinstance(plain, bool | int | float):
        return float(plain)
    return {"wrong": f"the function returned {_shown(value)} for it: a score is a number, or None to abstain"}


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text[:WIDTH]}{'...' if len(text) > WIDTH else ''} ({type(value).__name__})"
