"""The components of this folder by kind and name, and the check that must find the mistake of each."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.registry import checked

BROKEN: dict[tuple[str, str], str] = {}  # (kind, name) -> the check that must find the mistake
COMPONENTS: dict[tuple[str, str], type] = {}


def broken(kind: str, check: str):
    """A component under the name of its class; `check` is the one that must find its mistake."""

    def keep(cls):
        BROKEN[kind, cls.__name__] = check
        return component(kind, cls.__name__)(cls)

    return keep


def component(kind: str, name: str):
    """What `@register` and `@dataclass` do, without the registry."""

    def keep(cls):
        COMPONENTS[kind, name] = checked(dataclass(frozen=True, kw_only=True)(cls))
        return COMPONENTS[kind, name]

    return keep
