"""What the config of somebody else would execute, or send elsewhere: fields that are declared with `trust`.

What this user has trained with in the same folder, or has called with --trust, is remembered in the cache, so that only
what is new has to be read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.base.paths import cache_folder
from align_lab.config.groups import GROUPS
from align_lab.config.root import RunSettings

PLACEMENT = "hardware.placement."  # changes no result, so that a run can do without it


def asked(values: Mapping[str, Any]) -> dict[str, str]:
    """Dotted field -> its value and what it does, of all that are set. Call `registry.scan` first, without plug-ins."""
    found = dict(_of_fields(RunSettings, values, ""))
    for group in GROUPS:
        found |= _of_component(group, values.get(group), f"{group}.")
    for name, judge in _mapping(_mapping(values.get("evaluation")).get("judges")).items():
        found |= _of_component("reward", judge, f"evaluation.judges.{name}.")
    return found


def remember(values: Mapping[str, Any]) -> None:
    """What this config asks for is this user's own, or has been read."""
    if wants := asked(values):
        mark = _mark(wants)
        with suppress(OSError):  # a full disk costs a question later, and no run
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()


def known(values: Mapping[str, Any]) -> bool:
    """Does the config ask for nothing, or for what is remembered?"""
    wants = asked(values)
    return not wants or _mark(wants).exists()


def _mark(wants: Mapping[str, str]) -> Path:
    """A file in the cache. Files and modules are named relative to the folder, which is therefore part of it."""
    text = json.dumps([str(Path.cwd()), wants], sort_keys=True)
    return cache_folder() / "trusted" / hashlib.sha256(text.encode()).hexdigest()[:16]


def require(values: Mapping[str, Any], whose: str, *, trusted: bool) -> None:
    """Call it before a config from a file is used. `trusted`: --trust was typed, and the config is remembered.

    Raises ConfigError that names all that it would execute or send, where it is not known.
    """
    if trusted:
        remember(values)
    elif not known(values):
        listed = "\n".join(f"  {field}={text}" for field, text in asked(values).items())
        raise ConfigError(
            f"{whose} was not made in this folder, and using it would do what its author wrote there:\n{listed}\n"
            "Read these first. If they are what you expect, type the same command with --trust"
        )


def _of_component(kind: str, values: Any, prefix: str) -> dict[str, str]:
    """Of a component and of the rewards that it holds; nothing of one that only a plug-in knows."""
    values = _mapping(values)
    if values.get("name") not in registry.names(kind):
        return {}
    found = dict(_of_fields(registry.lookup(kind, values["name"]), values, prefix))
    for key, inside in values.items():
        for name, one in {"": inside, **_mapping(inside)}.items():
            found |= _of_component("reward", one, ".".join(filter(None, [f"{prefix}{key}", name])) + ".")
    return found


def _of_fields(cls: type, values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for spec in dataclasses.fields(cls):
        value = values.get(spec.name)
        if isinstance(spec.default_factory, type) and dataclasses.is_dataclass(spec.default_factory):
            yield from _of_fields(spec.default_factory, _mapping(value), f"{prefix}{spec.name}.")
        elif (does := spec.metadata.get("trust")) and value:
            yield f"{prefix}{spec.name}", f"{value} ({does})"


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
