"""Overrides inside fields that name rewards: the judges, and the field with which a reward holds others.

Their keys are names of the user's own and fields of any component, so only their form is checked here; the components
are checked once the config is composed (`align_lab.config.inner_rewards`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from align_lab.base import registry
from align_lab.base.errors import near

JUDGES = "evaluation.judges"


@dataclass(frozen=True)
class Holder:
    """A field that names rewards."""

    key: str
    several: bool  # by names of the user's own; else a single one
    noun: str

    def path(self, override: Override) -> list[str]:
        """The names and fields below the field itself."""
        return [part for part in override.key_or_group.removeprefix(self.key).split(".") if part]


def holder(config: DictConfig, key: str) -> Holder | None:
    """The field that names rewards in which `key` lies, if it lies in one."""
    holders = [Holder(JUDGES, several=True, noun="judge")]
    name = str(OmegaConf.select(config, "reward.name"))
    cls: Any = registry.lookup("reward", name) if name in registry.names("reward") else None
    if cls is not None and cls.holds:
        holders.append(Holder(f"reward.{cls.holds}", several=cls.several, noun="part"))
    return next((one for one in holders if key == one.key or key.startswith(f"{one.key}.")), None)


def problem(config: DictConfig, override: Override, field: Holder) -> str | None:
    """What is wrong with the form of an override; None where nothing is."""
    path, text = field.path(override), override.input_line
    if override.is_sweep_override():
        return f"{text}: several values need the flag -m (multirun)"
    if override.is_delete():
        return _deletion_problem(config, override, field)
    if path or not field.several:
        return None
    if not isinstance(override.value(), Mapping):
        return (
            f"{text}: {field.key} holds {field.noun}s by their names. Name one and its component, for example "
            f"{field.key}.my_{field.noun}.name=COMPONENT (--cfg job shows all of them)"
        )
    if not override.value():
        return f"{text}: a mapping adds {field.noun}s, and this one adds none. To remove all of them, type ~{field.key}"
    return None


def _deletion_problem(config: DictConfig, override: Override, field: Holder) -> str | None:
    path, text, known = field.path(override), override.input_line, list(OmegaConf.select(config, field.key))
    if not field.several:
        return f"{text}: it has to name a reward. Name another: {field.key}.name=COMPONENT"
    if len(path) > 1:
        whole = f"~{field.key}.{path[0]}"
        return f"{text}: a component always has all its fields. Remove the {field.noun} itself: {whole}"
    if path and path[0] not in known:
        return f"{text}: there is no {field.noun} {path[0]}. {near(path[0], known)}"
    return None


def apply(config: DictConfig, override: Override, field: Holder) -> None:
    """Set it in `config`, in place; a mapping adds to the rewards that have names, and `~` removes them."""
    path, value = field.path(override), _as_mapping(override.value())
    held: Any = OmegaConf.to_container(OmegaConf.select(config, field.key))
    if override.is_delete():
        held = {name: one for name, one in held.items() if path and name != path[0]}
    elif path:
        held = _set(held, path, value if _names_a_reward(path, field) else override.value())
    elif field.several:
        held = held | {str(name): _as_mapping(one) for name, one in cast(Mapping[str, Any], value).items()}
    else:
        held = value
    OmegaConf.update(config, field.key, held, merge=False)


def _names_a_reward(path: list[str], field: Holder) -> bool:
    return field.several and len(path) == 1


def _set(held: Any, path: list[str], value: Any) -> dict[str, Any]:
    """The same with `value` at `path`."""
    mapping = cast(dict[str, Any], _as_mapping(held) if isinstance(held, str | dict) else {})
    first, *rest = path
    return mapping | {first: _set(mapping.get(first), rest, value) if rest else value}


def _as_mapping(given: Any) -> Any:
    """A component's name alone stands for the component with its defaults."""
    return {"name": given} if isinstance(given, str) else given
