"""The schema of a run, for Hydra: one group for each kind of component, and the fixed sections.

It is generated from the components' frozen dataclasses, so code and config cannot diverge.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, get_type_hints

from align_lab.base import registry
from align_lab.base.errors import ConfigError, near
from align_lab.config.groups import GROUPS, components_without_yaml
from align_lab.config.root import RunSettings, StudySettings
from align_lab.config.type_words import type_in_words


def publish() -> None:
    """Put the schema of every registered component (group `schema/KIND`) and of the run into Hydra's ConfigStore."""
    from hydra.core.config_store import ConfigStore  # imported late: a dispatched job carries its config, without Hydra
    from omegaconf import MISSING, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    OmegaConf.register_new_resolver("adapters", _adapters, replace=True)
    store = ConfigStore.instance()
    for kind in registry.kinds():
        without = components_without_yaml(kind)
        for name in registry.names(kind):
            component = registry.lookup(kind, name)
            try:
                store.store(group=f"schema/{kind}", name=name, node=schema(component, name))
            except (OmegaConfBaseException, ValueError, TypeError, NameError) as error:
                raise ConfigError(
                    f"{kind}={name} ({component.__module__}.{component.__qualname__}): a field cannot be a part "
                    f"of a config: {str(error).splitlines()[0]}. Each needs a default of its declared type: bool, "
                    "int, float, str, Literal, a list or tuple or dict of these, or null"
                ) from None
            if name in without:
                store.store(group=kind, name=name, node=schema(component, name))
    groups = [(group, Any, dataclasses.field(default=MISSING)) for group in GROUPS]
    run = dataclasses.make_dataclass("Run", groups, bases=(schema(RunSettings), schema(StudySettings)))
    store.store(group="schema", name="run", node=run)


def _adapters(rank: int, adapted: float, whole: float) -> float:
    """`${adapters:${model.lora.rank},ADAPTED,WHOLE}` in a yaml file: a default that depends on what is trained."""
    return adapted if rank else whole


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
        if spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise TypeError(f"{spec.name} has no default")
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
        if key not in structured:
            raise ConfigError(f"{where}.{key}: there is no such field: {near(str(key), map(str, structured))}")
        default = OmegaConf.select(structured, key)
        try:
            OmegaConf.update(structured, key, [*value] if type(value) is tuple else value)
        except (OmegaConfBaseException, ValueError, TypeError, ArithmeticError):
            expected = type_in_words(structured._get_node(key), type(default).__name__)
            raise ConfigError(f"{where}.{key}={value}: it must be {expected} (default {default})") from None
    return OmegaConf.to_container(structured)  # type: ignore[return-value]
