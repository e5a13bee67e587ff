"""The schema of a run, for Hydra: one group for each kind of component, and the fixed sections.

It is generated from the components' frozen dataclasses, so code and config cannot diverge.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, get_type_hints

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.config.groups import GROUPS, components_without_yaml
from align_lab.config.root import RunSettings, StudySettings


def publish() -> None:
    """Put the schema of every registered component (group `schema/KIND`) and of the run into Hydra's ConfigStore."""
    from hydra.core.config_store import ConfigStore  # imported late: a dispatched job carries its config, without Hydra
    from omegaconf import MISSING

    store = ConfigStore.instance()
    for kind in registry.kinds():
        for name in registry.names(kind):
            store.store(group=f"schema/{kind}", name=name, node=schema(registry.lookup(kind, name), name))
            if name in components_without_yaml(kind):
                store.store(group=kind, name=name, node=schema(registry.lookup(kind, name), name))
    groups = [(group, Any, dataclasses.field(default=MISSING)) for group in GROUPS]
    run = dataclasses.make_dataclass("Run", groups, bases=(schema(RunSettings), schema(StudySettings)))
    store.store(group="schema", name="run", node=run)


@functools.cache
def schema(component: type, name: str | None = None) -> type:
    """A writable copy of a frozen dataclass, in types that OmegaConf supports, with the component's `name` first."""
    hints = get_type_hints(component)
    fields: list[Any] = [("name", str, dataclasses.field(default=name))] if name else []
    for spec in dataclasses.fields(component):
        hint = hints[spec.name]
        if dataclasses.is_dataclass(hint):
            inner = schema(hint)  # type: ignore[arg-type]
            fields.append((spec.name, inner, dataclasses.field(default_factory=inner)))
            continue
        value = spec.default_factory() if spec.default is dataclasses.MISSING else spec.default  # type: ignore[misc]
        fields.append((spec.name, _supported_type(hint), _field(value)))
    return dataclasses.make_dataclass(component.__name__, fields)


def _supported_type(hint: Any) -> Any:
    """OmegaConf supports neither Literal nor tuple: they become str and list."""
    text = str(hint)
    if "Literal" in text:
        return str | None if "None" in text else str
    return list[Any] if text.startswith("tuple") else hint


def _field(default: Any) -> Any:
    if isinstance(default, list | tuple):
        return dataclasses.field(default_factory=lambda: list[Any](default))  # type: ignore[arg-type]
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict[Any, Any](default))  # type: ignore[arg-type]
    return dataclasses.field(default=default)


def typed(kind: str, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """All fields of a component (with its `name`) in their declared types.

    Raises ConfigError that names the wrong one.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    structured = OmegaConf.structured(schema(registry.lookup(kind, values["name"]), values["name"]))
    value: Any
    for key, value in values.items():
        default = OmegaConf.select(structured, key)
        try:
            OmegaConf.update(structured, key, [*value] if type(value) is tuple else value)
        except (OmegaConfBaseException, ValueError, TypeError):
            expected = type_in_words(structured._get_node(key), type(default).__name__)
            raise ConfigError(f"{where}.{key}={value}: it must be {expected} (default {default})") from None
    return OmegaConf.to_container(structured)  # type: ignore[return-value]


def type_in_words(node: Any, fallback: str) -> str:
    """The type that a node of a config was declared with, for people; `fallback` where it was not declared."""
    metadata = getattr(node, "_metadata", None)
    hint = getattr(metadata, "ref_type", None) or fallback
    name = getattr(hint, "__name__", str(hint))
    words = {
        "float": "a number",
        "int": "a whole number",
        "bool": "true or false",
        "str": "text",
        "list": "a list",
        "List": "a list",
    }
    text = words.get(name, str(hint).replace("NoneType", "null").replace(" | ", " or "))
    return text + (" or null" if getattr(metadata, "optional", False) and "null" not in text else "")
