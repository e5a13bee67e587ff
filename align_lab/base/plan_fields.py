"""Plans that a sweep file writes as a mapping: unknown names, wrong types and bounds, all at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, cast

from align_lab.base.errors import ConfigError, near
from align_lab.base.registry import problems

T = TypeVar("T")
KINDS = {int: "a whole number", float: "a number", str: "text", list: "a list"}


def plan_of(cls: type[T], values: Mapping[str, Any], prefix: str) -> T:
    """A dataclass of `param` fields from a mapping. Raises ConfigError with all that is wrong.

    A field whose default is None or a bool takes any value: its bounds and choices say what is allowed.
    """
    known = {spec.name: _default(spec) for spec in fields(cast(Any, cls))}
    wrong = [f"{prefix}{name} is not known: {near(str(name), known)}" for name in values if name not in known]
    wrong += [
        f"{prefix}{name}={value}: it must be {KINDS[type(known[name])]}"
        for name, value in values.items()
        if name in known and not _has_type_of(value, known[name])
    ]
    if wrong := wrong or problems(cls, values, prefix):
        raise ConfigError("\n".join(wrong))
    return cls(**values)


def _default(spec: Field[Any]) -> Any:
    return spec.default_factory() if spec.default_factory is not MISSING else spec.default


def _has_type_of(value: Any, default: Any) -> bool:
    if default is None or isinstance(default, bool):
        return True
    fits = isinstance(value, int | float) if isinstance(default, float) else type(value) is type(default)
    return fits and not isinstance(value, bool)
