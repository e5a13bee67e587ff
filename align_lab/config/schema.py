"""The run's schema: groups of registered components and a few fixed sections; and its signature.

Schemas are generated from the components' frozen dataclasses, so code and config cannot part.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, get_type_hints

from align_lab.base import registry
from align_lab.config.groups import GROUPS, bare_components
from align_lab.config.root import RunSettings, StudySettings


def publish() -> None:
    """Hand Hydra the schema of every registered component (group `schema/KIND`) and of the run itself."""
    from hydra.core.config_store import ConfigStore  # here: a dispatched job has its config and needs no Hydra
    from omegaconf import MISSING

    store = ConfigStore.instance()
    for kind in registry.kinds():
        for name in registry.names(kind):
            store.store(group=f"schema/{kind}", name=name, node=schema(registry.lookup(kind, name), name))
            if name in bare_components(kind):
                store.store(group=kind, name=name, node=schema(registry.lookup(kind, name), name))
    root = [(g, Any, dataclasses.field(default=MISSING)) for g in GROUPS]
    run = dataclasses.make_dataclass("Run", root, bases=(schema(RunSettings), schema(StudySettings)))
    store.store(group="schema", name="run", node=run)
    store.store(group="hydra/launcher", name="align_lab", node={"_target_": "hydra_plugins.align_lab.Launcher"})


@functools.cache
def schema(component: type, name: str | None = None) -> type:
    """A writable twin of a frozen dataclass, in the types that OmegaConf knows, with the component's `name` first."""
    hints = get_type_hints(component)
    fields: list[Any] = [("name", str, dataclasses.field(default=name))] if name else []
    for spec in dataclasses.fields(component):
        hint = hints[spec.name]
        if dataclasses.is_dataclass(hint):
            inner = schema(hint)
            fields.append((spec.name, inner, dataclasses.field(default_factory=inner)))
            continue
        value = spec.default_factory() if spec.default is dataclasses.MISSING else spec.default  # type: ignore[misc]
        fields.append((spec.name, _plain(hint), _default(value)))
    return dataclasses.make_dataclass(component.__name__, fields)


def _plain(hint: Any) -> Any:
    """OmegaConf knows no Literal and no tuple: those become str and list."""
    text = str(hint)
    if "Literal" in text:
        return str | None if "None" in text else str
    return list[Any] if text.startswith("tuple") else hint


def _default(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return dataclasses.field(default_factory=lambda: list(value))
    if isinstance(value, dict):
        return dataclasses.field(default_factory=lambda: dict(value))
    return dataclasses.field(default=value)
