"""Overrides of the command line: parsed, and checked one by one against the config that they change.

Hydra stops at the first error and accepts `++algo.typo=1`, so these checks come before its own.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from align_lab.base import run_config
from align_lab.base.errors import ConfigError, near
from align_lab.config import named_rewards
from align_lab.config.groups import GROUPS, options
from align_lab.config.schema import type_in_words


def parse(overrides: Sequence[str]) -> list[Override]:
    """Raises ConfigError that names every override outside Hydra's grammar."""
    parsed: list[Override] = []
    messages: list[str] = []
    parser = OverridesParser.create()
    for text in overrides:
        try:  # YAML writes .inf and .nan, Hydra's grammar inf and nan
            parsed += parser.parse_overrides([re.sub(r"=(-?)\.(inf|nan)$", r"=\1\2", text)])
        except HydraException:
            key, equals, _ = text.partition("=")
            quoted = f": '{key}=\"...\"'" if equals else ""
            messages.append(
                f"{text}: not understood. Write key=value, for example algo=rloo or train.lr=1e-4. A value with "
                f"commas, colons, braces or brackets has quotes of its own inside those of the shell{quoted}"
            )
    if messages:
        raise ConfigError("\n".join(messages))
    return parsed


def plugins(parsed: Iterable[Override]) -> tuple[str, ...]:
    """The modules that `plugins=[...]` names."""
    values = [override.value() for override in parsed if override.key_or_group == "plugins"]
    names = [name for value in values for name in (value if isinstance(value, list) else [value])]
    return tuple(str(name) for name in names)


def selects_option(override: Override) -> bool:
    """Does it choose an option of a config group (`algo=rloo`, `hydra/help=default`) rather than set a field?"""
    key = override.key_or_group
    return key in (*GROUPS, "sweeps") or "/" in key


def concerns_hydra(override: Override) -> bool:
    """Does it set one of Hydra's own fields (`hydra.sweeper.n_trials=20`)?"""
    return override.key_or_group.partition(".")[0] == "hydra"


def option_problem(override: Override) -> str | None:
    """What is wrong with the choice of an option; None where nothing is."""
    group, value = override.key_or_group, override.value()
    if group in ("hydra/sweeper", "hydra/launcher"):
        return f"{group}={value}: runs are planned and launched here. To search over fields, use tune={{trials: 12}}"
    if group not in (*GROUPS, "sweeps"):
        return None  # another one of Hydra's own groups
    if override.is_delete():
        return f"~{group}: a run needs its {group}. Choose one: {', '.join(options(group))}"
    if isinstance(value, str) and value in options(group):
        return None
    return f"{group}={value} is not known: {near(str(value), options(group))}"


def field_problem(config: DictConfig, override: Override) -> str | None:
    """What is wrong with setting a field of `config`; None where nothing is."""
    key, text = override.key_or_group, str(override.input_line)
    if holder := named_rewards.holder(config, key):
        return named_rewards.problem(config, override, holder)
    fields = dict(run_config.leaves(OmegaConf.to_container(config, throw_on_missing=False)))  # type: ignore[arg-type]
    section = [field for field in fields if field.startswith(f"{key}.")]
    if key not in fields and not section:
        return f"{text}: there is no {key}. {_suggestion(key, list(fields))}"
    if override.is_sweep_override():
        return f"{text}: several values need the flag -m (multirun)"
    if problem := _operation_problem(override, fields.get(key)):
        return f"{text}: {problem}"
    if section and not isinstance(override.value(), Mapping):
        return f"{text}: {key} holds several fields. Set one of them, for example {section[0]}={fields[section[0]]}"
    return _type_problem(config, override, fields.get(key))


def apply(config: DictConfig, override: Override) -> None:
    """Set a field of `config`, in place."""
    if holder := named_rewards.holder(config, override.key_or_group):
        named_rewards.apply(config, override, holder)
    else:
        _set(config, override)


def _set(config: DictConfig, override: Override) -> None:
    """A mapping is merged into a mapping; in place of anything else it stands by itself."""
    both = all(isinstance(one, Mapping) for one in (OmegaConf.select(config, override.key_or_group), override.value()))
    OmegaConf.update(config, override.key_or_group, override.value(), merge=both)


def _operation_problem(override: Override, default: Any) -> str | None:
    """`~key` removes a field, `+key` adds one, `GROUP.name=` replaces a component: none of the three is possible."""
    key = override.key_or_group
    if override.is_delete():
        return (
            f"{key} cannot be removed, a component always has all its fields. "
            f"Set it to another value, for example {key}={default}"
        )
    value = override.get_value_element_as_str()
    if key in {f"{group}.name" for group in GROUPS}:
        return f"choose the component itself: {key.removesuffix('.name')}={value}"
    if override.is_add() and not override.is_force_add():
        return f"{key} exists already. Drop the +: {key}={value}"
    return None


def _type_problem(config: DictConfig, override: Override, default: Any) -> str | None:
    """OmegaConf checks the type when a value is assigned, so the value is assigned to a copy."""
    key = override.key_or_group
    try:
        _set(copy.deepcopy(config), override)
    except (OmegaConfBaseException, ValueError, TypeError):
        parent, _, name = key.rpartition(".")
        section: Any = OmegaConf.select(config, parent) if parent else config
        expected = type_in_words(section._get_node(name), type(default).__name__)
        return f"{override.input_line}: {key} must be {expected} (default {default})"
    return None


def _suggestion(key: str, fields: list[str]) -> str:
    """The nearest field: the same name elsewhere, else a field of the same section, else a similar name anywhere."""
    section, _, name = key.rpartition(".")
    same_name = [field for field in fields if field.rpartition(".")[2] == name]
    if same_name:
        return f"did you mean {same_name[0]}?"
    siblings = [field for field in fields if field.rpartition(".")[0] == section]
    if section and siblings:
        return near(key, siblings)
    by_depth = sorted(fields, key=lambda field: -field.count("."))
    shortest = {field.rpartition(".")[2]: field for field in by_depth}  # name -> the shortest path to it
    similar = difflib.get_close_matches(name, shortest, n=1, cutoff=0.55)
    if similar:
        return f"did you mean {shortest[similar[0]]!r}?"
    return f"allowed at the top: {', '.join(dict.fromkeys(field.split('.')[0] for field in fields))}"
