"""`python -m align_lab show algo=ppo_max`: the card of an option, from docstrings, fields and YAML."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.cli.plugin_argument import EPILOG, split
from align_lab.config.groups import GROUPS


def show(args: Sequence[str]) -> int:
    """Print the card of GROUP=OPTION. Raises ConfigError for anything else."""
    plugins, others = split(args)
    parser = argparse.ArgumentParser(
        prog="python -m align_lab show",
        usage="python -m align_lab show GROUP=OPTION [plugins=[MODULE,...]]",
        description="What an option computes, its papers, its fields and their defaults.",
        epilog=f"Groups: {', '.join(GROUPS)}; `python -m align_lab list` has their options. {EPILOG}",
    )
    parser.add_argument("option", nargs="*", metavar="GROUP=OPTION", help="for example algo=ppo_max")
    texts = parser.parse_args(others).option
    group, _, name = texts[0].partition("=") if len(texts) == 1 else ("", "", "")
    if group not in GROUPS or not name:
        raise ConfigError(
            "show takes one GROUP=OPTION, for example: python -m align_lab show algo=ppo_max. "
            f"Groups: {', '.join(GROUPS)}"
        )
    print(card(group, name, plugins))
    return 0


def card(group: str, name: str, plugins: Sequence[str] = ()) -> str:
    """The docstrings of the component, what it needs, and its fields with the values of this option."""
    from align_lab.config import composition

    overrides = [f"{group}={name}", *plugins]
    composition.load_components(composition.parse(overrides))
    values = composition.Composer().values(overrides)[group]
    component = registry.lookup(group, values["name"])
    lines = [f"{group}={name}", ""]
    for docstring in (sys.modules[component.__module__].__doc__, component.__doc__):
        lines += [inspect.cleandoc(docstring), ""] if docstring else []
    lines += [*_needs(group, values), "Fields"]
    rows = list(_fields(component, values))
    width = max((len(row[0]) for row in rows), default=0)
    lines += [f"  {group}.{key:<{width}}  {value:<10}  {text}".rstrip() for key, value, text in rows]
    return "\n".join(lines)


def _needs(group: str, values: Mapping[str, Any]) -> list[str]:
    if group != "algo":
        return []
    needs = registry.build("algo", values).needs
    values_by_name = {spec.name: (getattr(needs, spec.name), spec.default) for spec in dataclasses.fields(needs)}
    changed = [f"{name}={value}" for name, (value, default) in values_by_name.items() if value != default]
    return [f"Needs  {', '.join(changed) or 'only completions and their scores'}", ""]


def _fields(component: type, values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for spec in dataclasses.fields(component):
        value = values[spec.name]
        if isinstance(value, Mapping) and isinstance(spec.default_factory, type):
            yield from _fields(spec.default_factory, value, f"{prefix}{spec.name}.")
        else:
            yield f"{prefix}{spec.name}", "null" if value is None else str(value), spec.metadata.get("help", "")
