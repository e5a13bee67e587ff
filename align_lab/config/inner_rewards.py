"""Rewards that a field of the config names, as judges or inside another reward: with all their fields, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.config.schema import typed
from align_lab.rewards.combination import Combination, without


def expanded(where: str, given: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """All fields of a reward, in their declared types, and those of the rewards that it holds.

    `given`: its component's name, or a mapping with `name`. Raises ConfigError that begins with `where`.
    """
    values: dict[str, Any] = {"name": given} if isinstance(given, str) else cast(dict[str, Any], given)
    if not isinstance(given, str | dict) or not values.get("name"):
        names = registry.names("reward")
        raise ConfigError(
            f"{where}={given}: it names a reward component ({', '.join(names)}). Type {where}.name={names[0]}"
        )
    values = registry.expand("reward", _with_a_mapping(values), where)
    values = typed("reward", values, where)
    registry.expand("reward", values, where)  # bounds once more: "-1" is a number only now
    return with_inner(where, values)


def _with_a_mapping(values: dict[str, Any]) -> dict[str, Any]:
    """`{name: noise, of: length}` means `{name: noise, of: {name: length}}`."""
    if values["name"] not in registry.names("reward"):
        return values  # refused where its fields are read
    cls: type[Combination] = registry.lookup("reward", values["name"])
    named = cls.holds and not cls.several and isinstance(values.get(cls.holds), str)
    return {**values, cls.holds: {"name": values[cls.holds]}} if named else values


def with_inner(where: str, values: dict[str, Any]) -> dict[str, Any]:
    """The same config of a reward, with all fields of the rewards that it holds. Raises ConfigError."""
    cls: type[Combination] = registry.lookup("reward", values["name"])
    if not cls.holds or not (held := values[cls.holds]):
        return values
    where = f"{where}.{cls.holds}"
    if not cls.several:
        return values | {cls.holds: expanded(where, held)}
    if not isinstance(held, Mapping):
        raise ConfigError(f"{where}={held}: it holds rewards by their names. Type {where}.NAME.name=COMPONENT")
    named = cast(Mapping[str, Any], held)
    return values | {cls.holds: {name: _entry(cls, f"{where}.{name}", given) for name, given in named.items()}}


def _entry(cls: type[Combination], where: str, given: Any) -> dict[str, Any]:
    """A reward inside with what stands beside its fields, a weight for example."""
    if not isinstance(given, dict):
        return expanded(where, given) | dict(cls.beside)
    entry = cast(dict[str, Any], given)
    beside = {name: _number(f"{where}.{name}", entry.get(name, default)) for name, default in cls.beside.items()}
    return expanded(where, without(entry, cls.beside)) | beside


def _number(where: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{where}={value}: it must be a number") from None
