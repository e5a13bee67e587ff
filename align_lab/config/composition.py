"""Overrides -> one checked config. Everything that is wrong is found at once, and said with what to type instead.

Hydra composes; this module looks first, because Hydra stops at the first error and accepts `++algo.typo=1`.
"""

from __future__ import annotations

import copy
import difflib
import functools
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from align_lab.base import registry, run_config
from align_lab.base.errors import ConfigError, near
from align_lab.base.paths import conf_folder, search_folders
from align_lab.base.run_config import RunConfig
from align_lab.config import schema
from align_lab.config.groups import GROUPS, options
from align_lab.config.root import STUDY_KEYS, StudySettings
from align_lab.config.validation import problems


def compose(overrides: Sequence[str]) -> RunConfig:
    """Compose and check a run. Raises ConfigError that names every wrong override, bound and contradiction."""
    prepare(parse(overrides))
    return Composer().run(overrides)


class Composer:
    """Composes many jobs: by Hydra once for each choice of groups, then each job's values are merged into a copy.

    The result equals Hydra's own (a test holds it to that), and a thousand jobs take seconds.
    """

    def __init__(self) -> None:
        self._parsed = functools.cache(lambda text: parse([text])[0])
        self._base = functools.cache(_split)
        self._problem = functools.cache(lambda groups, text: _value_problem(self._base(groups)[0], self._parsed(text)))

    def runs(self, jobs: Iterable[Sequence[str]]) -> list[RunConfig]:
        """Every job, or one ConfigError with all that is wrong in any of them."""
        found, composed = list[str](), []
        for overrides in jobs:
            try:
                composed.append(self.run(overrides))
            except ConfigError as error:
                found += str(error).split("\n")
        if found:
            raise ConfigError("\n".join(dict.fromkeys(found)))
        return composed

    def run(self, overrides: Sequence[str]) -> RunConfig:
        found, node, choices = self._merge(overrides)
        values = run_config.plain(node)
        cfg = RunConfig({key: value for key, value in values.items() if key not in STUDY_KEYS}, choices)
        found += problems(cfg.values)
        if found:
            raise ConfigError("\n".join(dict.fromkeys(found)))
        return cfg

    def study(self, overrides: Sequence[str]) -> StudySettings:
        """What the command says of the study, not of its runs. Raises ConfigError."""
        found, node, _ = self._merge(overrides)
        values = {key: OmegaConf.to_container(node)[key] for key in STUDY_KEYS}  # type: ignore[call-overload,index]
        found += registry.problems(StudySettings, values)
        if found:
            raise ConfigError("\n".join(dict.fromkeys(found)))
        return registry.construct(StudySettings, values)

    def _merge(self, overrides: Sequence[str]) -> tuple[list[str], DictConfig, Mapping[str, str]]:
        """(messages about wrong overrides, the config with the right ones, choice of each group)."""
        parsed = {text: self._parsed(text) for text in overrides}
        found = [problem for o in parsed.values() if is_group(o) and (problem := _group_problem(o))]
        if found:  # values can only be judged once the groups are right
            parsed = {text: o for text, o in parsed.items() if not is_group(o) or not _group_problem(o)}
        groups = tuple(text for text, o in parsed.items() if is_group(o) or _is_hydras(o))
        base, choices = self._base(groups)
        node = copy.deepcopy(base)
        for text, override in parsed.items():
            if text in groups:
                continue
            if problem := self._problem(groups, text):
                found.append(problem)
            else:
                OmegaConf.update(node, override.key_or_group, override.value(), merge=True)
        return found, node, choices


def _split(groups: Sequence[str]) -> tuple[DictConfig, Mapping[str, str]]:
    """What Hydra composes from choices of groups: the run's part, and which option each group has."""
    run = _hydra_compose(groups)
    choices = {group: str(run.hydra.runtime.choices[group]) for group in GROUPS}
    with open_dict(run):
        for key in {"hydra", "sweeps"} & run.keys():
            del run[key]
    return run, choices


def prepare(parsed: Iterable[Override] = ()) -> None:
    """Scan for components, also in the `plugins` named on the command line, and publish their schemas."""
    plugins = [str(name) for o in parsed if o.key_or_group == "plugins" for name in _as_list(o.value())]
    registry.scan(tuple(plugins))
    schema.publish()


def sweeper_params(overrides: Sequence[str]) -> dict[str, str]:
    """What a sweep file sweeps in Hydra's own way (`hydra.sweeper.params`)."""
    composed = _hydra_compose([text for text in overrides if text.startswith(("sweeps=", "hydra"))])
    params = OmegaConf.to_container(composed.hydra.sweeper.get("params") or OmegaConf.create({}))
    assert isinstance(params, dict)
    return {str(key): str(value) for key, value in params.items()}


def has_other_sweeper(parsed: Sequence[Override]) -> bool:
    """Was another sweeper than Hydra's own asked for, on the command line or in a sweep file? Raises ConfigError for an unknown file."""
    wrong = [problem for o in parsed if o.key_or_group == "sweeps" and (problem := _group_problem(o))]
    if wrong:
        raise ConfigError("\n".join(wrong))
    fixed = [str(o.input_line) for o in parsed if str(o.key_or_group).split("/")[0] in ("hydra", "sweeps")]
    if not fixed:
        return False
    return str(_hydra_compose(fixed).hydra.runtime.choices["hydra/sweeper"]) != "basic"


def is_group(override: Override) -> bool:
    key = override.key_or_group
    return key in (*GROUPS, "sweeps") or "/" in key


def _is_hydras(override: Override) -> bool:
    return str(override.key_or_group).split(".")[0] == "hydra"


def _group_problem(override: Override) -> str | None:
    group, value = override.key_or_group, override.value()
    if group not in (*GROUPS, "sweeps"):
        return None  # hydra's own groups, e.g. hydra/sweeper
    if override.is_delete():
        return f"~{group}: a run needs its {group}. Choose one: {', '.join(options(group))}"
    if isinstance(value, str) and value in options(group):
        return None
    return f"{group}={value} is not known: {near(str(value), options(group))}"


def _value_problem(base: DictConfig, override: Override) -> str | None:
    key = str(override.key_or_group)
    known = dict(run_config.leaves(OmegaConf.to_container(base, throw_on_missing=False)))  # type: ignore[arg-type]
    is_section = any(leaf.startswith(f"{key}.") for leaf in known)
    if key not in known and not is_section:
        return f"{override.input_line}: there is no {key}. {_near_key(key, list(known))}"
    if override.is_delete():
        return (
            f"{override.input_line}: {key} cannot be removed, every component keeps all its fields. "
            f"Set it to another value, e.g. {key}={known.get(key)}"
        )
    if key in {f"{group}.name" for group in GROUPS}:
        group = key.removesuffix(".name")
        return f"{override.input_line}: choose the component itself: {group}={override.get_value_element_as_str()}"
    if override.is_add() and not override.is_force_add():
        return f"{override.input_line}: {key} is there already. Drop the +: {key}={override.get_value_element_as_str()}"
    if override.is_sweep_override():
        return f"{override.input_line}: several values need the flag -m (multirun)"
    if is_section and not isinstance(override.value(), Mapping):
        example = next(leaf for leaf in known if leaf.startswith(f"{key}."))
        return f"{override.input_line}: {key} holds several fields. Set one of them, for example {example}={known[example]}"
    trial = copy.deepcopy(base)
    try:
        OmegaConf.update(trial, key, override.value(), force_add=False)
    except (OmegaConfBaseException, ValueError, TypeError):
        head, _, last = key.rpartition(".")
        node = (OmegaConf.select(base, head) if head else base)._get_node(last)
        wanted = _type_name(getattr(node, "_metadata", None), type(known[key]).__name__)
        return f"{override.input_line}: {key} must be {wanted} (default {known.get(key)})"
    return None


def _type_name(metadata: Any, fallback: Any) -> str:
    hint = getattr(metadata, "ref_type", None) or fallback
    name = getattr(hint, "__name__", str(hint))
    words = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text", "list": "a list"}
    text = words.get(name, str(hint).replace("NoneType", "null").replace(" | ", " or "))
    return text + (" or null" if getattr(metadata, "optional", False) and "null" not in text else "")


def _near_key(key: str, known: list[str]) -> str:
    """The nearest key: the same name elsewhere, else a neighbour in the same section, else a similar name anywhere."""
    head, _, last = key.rpartition(".")
    elsewhere = [k for k in known if k.rpartition(".")[2] == last]
    siblings = [k for k in known if k.rpartition(".")[0] == head]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    if head and siblings:
        return near(key, siblings)
    names = {k.rpartition(".")[2]: k for k in sorted(known, key=lambda k: -k.count("."))}  # the shortest path to a name
    close = difflib.get_close_matches(last, names, n=1, cutoff=0.55)
    top = ", ".join(dict.fromkeys(k.split(".")[0] for k in known))
    return f"did you mean {names[close[0]]!r}?" if close else f"allowed at the top: {top}"


def parse(overrides: Sequence[str]) -> list[Override]:
    """Raises ConfigError that names every override that Hydra's grammar does not know."""
    parsed, found = [], []
    parser = OverridesParser.create()
    for text in overrides:
        try:
            parsed += parser.parse_overrides([re.sub(r"=(-?)\.(inf|nan)$", r"=\1\2", text)])  # as YAML writes them
        except HydraException:
            found.append(
                f"{text}: not understood. Write key=value, for example algo=rloo or train.lr=1e-4 "
                "(quote values that hold spaces or commas)"
            )
    if found:
        raise ConfigError("\n".join(found))
    return parsed


def _hydra_compose(overrides: Sequence[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with warnings.catch_warnings(), hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        warnings.simplefilter("ignore")
        try:
            return hydra.compose("config", [*overrides, search_path_override()], return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(str(error).split("\n")[0]) from None


def search_path_override() -> str:
    """A user's own ./conf, and the folders that hold `sweeps/`, join Hydra's search path."""
    extra = [folder for folder in search_folders() if folder != conf_folder()]
    return f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in extra)}]"


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
