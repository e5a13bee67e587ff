"""The few ways in which fields of theirs become one of ours. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def same(of: Sequence[Any], over: Sequence[Any]) -> Any:
    """The value itself."""
    return of[0]


def whole(of: Sequence[Any], over: Sequence[Any]) -> int:
    """The product of the first over the product of the second: completions over completions a prompt are prompts.

    Raises ValueError where that is no whole number.
    """
    value = _ratio(of, over)
    if not value.is_integer():
        raise ValueError(f"{value:g} is no whole number")
    return int(value)


def share(of: Sequence[Any], over: Sequence[Any]) -> int:
    """The same, rounded up: a share of all steps, as programs count their warm-up."""
    return math.ceil(_ratio(of, over))


def _ratio(of: Sequence[Any], over: Sequence[Any]) -> float:
    return math.prod(map(_number, of)) / math.prod(map(_number, over))


def _number(value: Any) -> float:
    """Raises ValueError for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    return float(value)


CONVERSIONS: Mapping[str, Callable[[Sequence[Any], Sequence[Any]], Any]] = {
    "same": same,
    "whole": whole,
    "share": share,
}
