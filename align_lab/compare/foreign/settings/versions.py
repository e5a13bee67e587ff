"""Versions in their order, and which version of a table stands for one that has no table of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LEADING = re.compile(r"(\d+)(.*)")


@dataclass(frozen=True, kw_only=True)
class TableVersion:
    """The version of a table that stands for the one that was given; `exact`: it is that one."""

    given: str
    table: str
    exact: bool


def order(version: str) -> tuple[int, ...]:
    """`1.16.0rc1` -> (1, 16, 0); empty for what is no version."""
    parts: list[int] = []
    for part in version.removeprefix("v").split("."):
        match = LEADING.fullmatch(part)
        if not match:
            break
        parts.append(int(match[1]))
        if match[2]:
            break
    return tuple(parts)


def table_version(known: Sequence[str], given: str) -> TableVersion | None:
    """The version itself, else the nearest one below it; None below the first, and for what is no version."""
    numbers = order(given)
    below = [version for version in known if order(version) <= numbers]
    if not numbers or not below:
        return None
    nearest = max(below, key=order)
    return TableVersion(given=given, table=nearest, exact=numbers[: len(order(nearest))] == order(nearest))
