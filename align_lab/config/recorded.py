"""A config that was read from a record or a lock: it is checked before a component is built of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.config.explained import explained
from align_lab.config.groups import GROUPS
from align_lab.config.root import RunSettings
from align_lab.config.schema import schema, typed

LATER = ("vary",)  # fields that records of older versions lack


def complete(values: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """All fields in their declared types, and the components of its plug-ins registered.

    Raises ConfigError that begins with `whose` for a field that is missing, unknown, or of another type.
    """
    plugins: Any = values.get("plugins", [])
    if not isinstance(plugins, list) or not all(isinstance(name, str) for name in cast("list[Any]", plugins)):
        raise ConfigError(f"{whose}: plugins={plugins} must be a list of modules")
    registry.scan(tuple(cast("list[str]", plugins)))
    missing = [name for name in (*RunSettings.__dataclass_fields__, *GROUPS) if name not in (*values, *LATER)]
    if missing:
        raise ConfigError(f"{whose}: its config has no {', '.join(missing)}. Restore it, or make the run again")
    return {**values, **_root(values, whose), **{group: _component(group, values[group], whose) for group in GROUPS}}


def _root(values: Mapping[str, Any], whose: str) -> dict[str, Any]:
    from omegaconf import OmegaConf  # imported late, as in the schema

    fields = {name: values[name] for name in RunSettings.__dataclass_fields__ if name in values}
    try:
        with explained():
            merged = OmegaConf.merge(OmegaConf.structured(schema(RunSettings)), OmegaConf.create(fields))
            return cast("dict[str, Any]", OmegaConf.to_container(merged, resolve=True))
    except ConfigError as error:
        raise ConfigError(f"{whose}: {error}") from None


def _component(group: str, values: Any, whose: str) -> dict[str, Any]:
    if not isinstance(values, Mapping) or not isinstance(cast("Mapping[str, Any]", values).get("name"), str):
        raise ConfigError(f"{whose}: its {group} names no component. Restore it, or make the run again")
    return typed(group, cast("Mapping[str, Any]", values), f"{whose}: {group}")
