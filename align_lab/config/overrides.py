"""Overrides of the command line: parsed, and checked one by one against the config that they change.

Hydra stops at the first error and accepts `++algo.typo=1`, so these checks come before its own.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from align_lab.base import registry, run_config
from align_lab.base.errors import ConfigError, near, short
from align_lab.config import named_rewards, synonyms
from align_lab.config.groups import GROUPS, options
from align_lab.config.root import FREE
from align_lab.config.type_words import type_in_words

OWN = {  # group -> how something of one's own is named, which is no option
    "model": ". A folder or a model of the Hugging Face hub: model=hf model.path={}",
    "data": ". Files or a data set of the Hugging Face hub: data=files data.prompts={}",
}


def parse(overrides: Sequence[str]) -> list[Override]:
    """Raises ConfigError that names every override outside Hydra's grammar."""
    parsed: list[Override] = []
    messages: list[str] = []
    parser = OverridesParser.create()
    for text in overrides:
        if not text.partition("=")[0].strip("+~ "):
            messages.append(f"{short(text)}: there is no key before =. Write key=value, for example algo=rloo")
            continue
        try:  # YAML writes .inf and .nan, Hydra's grammar inf and nan
            parsed += parser.parse_overrides([re.sub(r"=(-?)\.(inf|nan)$", r"=\1\2", text)])
        except (HydraException, ValueError, RecursionError):  # ValueError: a number of more than 4,300 digits
            key, equals, _ = text.partition("=")
            quoted = f": '{key}=\"...\"'" if equals else ""
            messages.append(
                f"{short(text)}: not understood. Write key=value, for example algo=rloo or train.lr=1e-4. A value with "
                f"commas, colons, braces or brackets has quotes of its own inside those of the shell{quoted}"
            )
    if messages:
        raise ConfigError("\n".join(messages))
    return parsed


def plugins(parsed: Iterable[Override]) -> tuple[str, ...]:
    """The modules that `plugins=[...]` names. Raises ConfigError for several lists."""
    given = [override for override in parsed if override.key_or_group == "plugins"]
    for override in given:
        if override.is_sweep_override():
            raise ConfigError(f"{override.input_line}: plug-ins are one list for all runs. Type plugins=[a,b]")
    values = [override.value() for override in given]
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
    if concerns_hydra(override):
        return (
            f"{override.input_line}: Hydra's own fields change nothing here. A run is written to runs/STUDY/, with its "
            "log. Type study=NAME to choose STUDY"
        )
    if group in ("hydra/sweeper", "hydra/launcher"):
        return f"{group}={value}: runs are planned and launched here. To search over fields, use tune={{trials: 12}}"
    if group not in (*GROUPS, "sweeps"):
        return None  # another one of Hydra's own groups
    if override.is_delete():
        return f"~{group}: a run needs its {group}. Choose one: {', '.join(options(group))}"
    if override.is_sweep_override():
        text = override.input_line
        return f"{text}: several values need the flag -m. Type: align_lab -m {text}"
    if isinstance(value, str) and value in options(group):
        return None
    text = short(str(override.input_line))
    if isinstance(value, Mapping):
        fields = " ".join(f"{group}.{name}={each}" for name, each in cast("Mapping[str, Any]", value).items())
        return f"{text}: {group} is the name of an option. Set its fields one by one: {short(fields)}"
    if isinstance(value, list):
        names = ",".join(map(str, value))
        several = ". For several runs, type -m" if len(names.split(",")) > 1 else ""
        return f"{text}: a run has one option, without brackets{several}: {group}={short(names)}"
    of_ones_own = "" if str(value).lower() in options(group) else OWN.get(group, "").format(short(str(value)))
    return f"{text} is not known: {near(str(value), options(group))}. See align_lab list {group}{of_ones_own}"


def field_problem(config: DictConfig, override: Override) -> str | None:
    """What is wrong with setting a field of `config`; None where nothing is."""
    key, text = override.key_or_group, str(override.input_line)
    if holder := named_rewards.holder(config, key):
        return named_rewards.problem(config, override, holder)
    if key.partition(".")[0] in FREE and not override.is_sweep_override():
        return (
            None  # `tune=null`, `seeds=[0,1]` and `tune.sampler=tpe`, whatever a sweep file says: its plan is checked
        )
    fields = dict(run_config.leaves(OmegaConf.to_container(config, throw_on_missing=False)))  # type: ignore[arg-type]
    section = [field for field in fields if field.startswith(f"{key}.")]
    if key not in fields and not section and OmegaConf.select(config, key) is None:  # a mapping may be empty
        return f"{text}: there is no {key}. {_suggestion(key, str(override.value()), list(fields))}"
    if override.is_sweep_override():
        return f"{text}: several values need the flag -m (multirun)"
    if override.value() == "???":
        return f"{text}: ??? stands for a value that is missing. Write one, for example {key}={fields.get(key)}"
    if problem := _operation_problem(override, fields.get(key)):
        return f"{text}: {problem}"
    if section and not isinstance(override.value(), Mapping):
        default = fields[section[0]]
        example = f"{section[0]}={'...' if default is None else default}"
        return f"{text}: {key} holds several fields. Set one of them, for example {example}"
    return _type_problem(config, override, fields.get(key))


def apply(config: DictConfig, override: Override) -> None:
    """Set a field of `config`, in place."""
    if holder := named_rewards.holder(config, override.key_or_group):
        named_rewards.apply(config, override, holder)
    else:
        _set(config, override)


def _set(config: DictConfig, override: Override) -> None:
    """A mapping is merged into a mapping; in place of anything else it stands by itself."""
    before = OmegaConf.select(config, override.key_or_group, throw_on_resolution_failure=False)
    both = isinstance(before, Mapping) and isinstance(override.value(), Mapping)
    OmegaConf.update(config, override.key_or_group, override.value(), merge=both, force_add=True)


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
    key, value = override.key_or_group, override.value()
    if isinstance(default, bool) and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{short(str(override.input_line))}: {key} must be true or false (default {str(default).lower()})"
    try:
        _set(copy.deepcopy(config), override)
    except (OmegaConfBaseException, ValueError, TypeError, ArithmeticError):  # the last: too large for a float
        parent, _, name = key.rpartition(".")
        section: Any = OmegaConf.select(config, parent) if parent else config
        expected = type_in_words(section._get_node(name), type(default).__name__)
        return f"{short(str(override.input_line))}: {key} must be {expected} (default {default})"
    return None


def _suggestion(key: str, value: str, fields: list[str]) -> str:
    """The nearest field: the one that lacks or adds an s, else the one that other trainers call so, else one of the
    same name elsewhere, else that of another option, else one of the same section, else of a similar name anywhere. Or
    the option that the value names.
    """
    section, _, name = key.rpartition(".")
    plural = next((field for field in fields if field in (f"{key}s", key.removesuffix("s"))), None)
    if field := plural or synonyms.ours(key, fields):
        return f"did you mean {field}?"
    if (group := synonyms.group(key)) and value in options(group):
        return f"did you mean {group}={value}?"
    if elsewhere := synonyms.without(key) or _of_other_options(synonyms.field_of(key) or key, fields):
        return elsewhere
    same_name = [field for field in fields if field.rpartition(".")[2] == name != "name"]
    if same_name:
        return f"did you mean {min(same_name, key=lambda field: (field.count('.'), not field.startswith('train.')))}?"
    of_others = _of_other_algorithms(name) if section in ("algo", "train") or section not in GROUPS else ""
    if of_others and section != "algo":
        return of_others
    groups = dict.fromkeys(field.split(".")[0] for field in fields)
    siblings = [field for field in fields if field.rpartition(".")[0] == section]
    if section and siblings:
        return ". ".join(filter(None, [near(key, siblings), of_others]))
    if group:
        return f"did you mean {group!r}? allowed: {', '.join(options(group))}"
    if not section and (close := difflib.get_close_matches(key.lower(), groups, n=1, cutoff=0.7)):
        return f"did you mean {close[0]!r}?"
    by_depth = sorted(fields, key=lambda field: -field.count("."))
    shortest = {field.rpartition(".")[2]: field for field in by_depth}  # name -> the shortest path to it
    shortest.pop("name", None)
    similar = difflib.get_close_matches(name, shortest, n=1, cutoff=0.7)
    if similar:
        return f"did you mean {shortest[similar[0]]!r}?"
    return f"allowed at the top: {', '.join(groups)}. All fields: align_lab --cfg job"


def _of_other_options(field: str, fields: list[str]) -> str:
    """Which options of its group have this field, where the one that was chosen has not; empty where none has."""
    group, _, name = field.partition(".")
    first = name.partition(".")[0]
    has = any(f"{one}.".startswith(f"{group}.{first}.") for one in fields)  # the option that was chosen
    if has or group == "algo" or group not in GROUPS:
        return ""
    having = [one for one in registry.names(group) if first in registry.lookup(group, one).__dataclass_fields__]
    if not having:
        return ""
    named = " and ".join(f"{group}={one}" for one in having)
    return f"{field} is a field of {named}. Type {group}={having[0]} {field}=..."


def _of_other_algorithms(name: str) -> str:
    """Which algorithms have a field of this name, or one that other trainers call so; empty where none has."""
    field = (synonyms.field_of(name) or f"algo.{name}").removeprefix("algo.")
    having = [one for one in registry.names("algo") if field in registry.lookup("algo", one).__dataclass_fields__]
    if not having:
        return ""
    others = f" ({', '.join(having)})" if len(having) > 1 else ""
    return f"algo.{field} is a field of other algorithms{others}. Type algo={having[0]} algo.{field}=..."
