"""`python -m align_lab show algo=ppo_max`: a component's card, from its docstrings, its fields and its yaml."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.config.groups import GROUPS


def show(args: Sequence[str]) -> int:
    """Print the card of GROUP=NAME."""
    group, _, name = args[0].partition("=") if args else ("", "", "")
    if len(args) != 1 or group not in GROUPS or not name or name.startswith("-"):
        raise ConfigError(
            "show takes one GROUP=NAME, for example: python -m align_lab show algo=ppo_max. "
            f"Groups: {', '.join(GROUPS)}"
        )
    print(card(group, name))
    return 0


def card(group: str, name: str) -> str:
    """What it computes and where from (the module's text), what it needs, and its fields with the values of this option."""
    from align_lab.config import composition

    values = composition.compose([f"{group}={name}"])[group]
    component = registry.lookup(group, values["name"])
    lines = [f"{group}={name}", ""]
    for text in (sys.modules[component.__module__].__doc__, component.__doc__):
        lines += [inspect.cleandoc(text or ""), ""]
    lines += [*_needs(group, values), "Fields"]
    rows = list(_fields(component, values))
    width = max((len(row[0]) for row in rows), default=0)
    lines += [f"  {group}.{key:<{width}}  {value:<10}  {text}".rstrip() for key, value, text in rows]
    return "\n".join(lines)


def _needs(group: str, values: Mapping[str, Any]) -> list[str]:
    if group != "algo":
        return []
    needs = registry.build("algo", values).needs
    asked = [
        f"{f.name}={getattr(needs, f.name)}" for f in dataclasses.fields(needs) if getattr(needs, f.name) != f.default
    ]
    return [f"Needs  {', '.join(asked) or 'nothing but completions and scores'}", ""]


def _fields(component: type, values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for spec in dataclasses.fields(component):
        value = values[spec.name]
        if isinstance(value, Mapping) and isinstance(spec.default_factory, type):
            yield from _fields(spec.default_factory, value, f"{prefix}{spec.name}.")
        else:
            yield f"{prefix}{spec.name}", "null" if value is None else str(value), spec.metadata.get("help", "")
