"""Overrides -> checked runs. Every mistake is reported at once, each with what to type instead.

Hydra composes; `overrides` and `validation` check before and after it.
"""

from __future__ import annotations

import copy
import functools
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from align_lab.base import registry, run_config
from align_lab.base.errors import ConfigError, near
from align_lab.base.paths import conf_folder, search_folders
from align_lab.base.run_config import RunConfig
from align_lab.config import overrides as checks
from align_lab.config import schema, task_validation, validation
from align_lab.config.groups import GROUPS
from align_lab.config.overrides import parse
from align_lab.config.root import STUDY_KEYS, StudySettings


def compose(overrides: Sequence[str]) -> RunConfig:
    """Compose and check one run. Raises ConfigError that names every wrong override, bound and contradiction."""
    load_components(parse(overrides))
    return Composer().run(overrides)


def load_components(parsed: Iterable[Override] = ()) -> None:
    """Import every component, those of the `plugins` among the overrides too, and publish the schemas."""
    registry.scan(checks.plugins(parsed))
    schema.publish()


class Composer:
    """Composes many jobs: Hydra composes each choice of groups once, then each job's values are merged into a copy.

    The result equals Hydra's own (a test compares them), and a thousand jobs take seconds.
    """

    def __init__(self) -> None:
        self._parse = functools.cache(_parse_one)
        self._compose_groups = functools.cache(_compose_groups)
        self._field_problem = functools.cache(self._uncached_field_problem)

    def _uncached_field_problem(self, groups: tuple[str, ...], text: str) -> str | None:
        return checks.field_problem(self._compose_groups(groups)[0], self._parse(text))

    def runs(self, jobs: Iterable[Sequence[str]]) -> list[RunConfig]:
        """Compose and check every job. Raises one ConfigError with the mistakes of all of them."""
        messages: list[str] = []
        runs: list[RunConfig] = []
        for overrides in jobs:
            try:
                runs.append(self.run(overrides))
            except ConfigError as error:
                messages += str(error).split("\n")
        _raise_all(messages)
        return runs

    def run(self, overrides: Sequence[str]) -> RunConfig:
        """Compose and check one job. Raises ConfigError."""
        messages, config, choices = self._merge(overrides)
        values = run_config.plain(config)
        if wrong := task_validation.expand_rewards(values):
            _raise_all([*messages, *wrong])  # which metrics there are follows from the judges
        cfg = RunConfig({key: value for key, value in values.items() if key not in STUDY_KEYS}, choices)
        _raise_all(messages + validation.problems(cfg.values))
        return cfg

    def values(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The values of one job, which may lack what a run needs: only overrides are checked. Raises ConfigError."""
        messages, config, _ = self._merge(overrides)
        _raise_all(messages)
        return run_config.plain(config)

    def study(self, overrides: Sequence[str]) -> StudySettings:
        """The settings of the study, which its runs do not see. Raises ConfigError."""
        messages, config, _ = self._merge(overrides)
        container: Any = OmegaConf.to_container(config)
        values = {key: container[key] for key in STUDY_KEYS}
        _raise_all(messages + registry.problems(StudySettings, values))
        return registry.construct(StudySettings, values)

    def _merge(self, overrides: Sequence[str]) -> tuple[list[str], DictConfig, Mapping[str, str]]:
        """(messages about wrong overrides, the config with the right ones, the choice of each group)."""
        groups, fields, messages = self._partition(overrides)
        base, choices = self._compose_groups(groups)
        config = copy.deepcopy(base)
        for text, override in fields.items():
            if problem := self._field_problem(groups, text):
                messages.append(problem)
            else:
                checks.apply(config, override)
        return messages, config, choices

    def _partition(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Override], list[str]]:
        """(overrides that Hydra composes, overrides of fields, messages about options that do not exist)."""
        groups: list[str] = []
        fields: dict[str, Override] = {}
        messages: list[str] = []
        for text in dict.fromkeys(overrides):
            override = self._parse(text)
            if problem := checks.option_problem(override):
                messages.append(problem)
            elif checks.selects_option(override) or checks.concerns_hydra(override):
                groups.append(text)
            else:
                fields[text] = override
        return tuple(groups), fields, messages


def _raise_all(messages: Sequence[str]) -> None:
    if messages:
        raise ConfigError("\n".join(dict.fromkeys(messages)))


def _parse_one(text: str) -> Override:
    return parse([text])[0]


def _compose_groups(groups: Sequence[str]) -> tuple[DictConfig, Mapping[str, str]]:
    """What Hydra composes from a choice of groups: the run's part, and the option that each group has."""
    run = hydra_compose(groups)
    choices = {group: str(run.hydra.runtime.choices[group]) for group in GROUPS}
    _raise_all([_without_component(group, choices[group]) for group in GROUPS if not _has_component(run[group])])
    with open_dict(run):
        for key in {"hydra", "sweeps"} & run.keys():
            del run[key]
    return run, choices


def _has_component(values: Any) -> bool:
    return isinstance(values, DictConfig) and "name" in values


def _without_component(group: str, option: str) -> str:
    """A yaml file whose values lie elsewhere than it means: Hydra reads `@package` only at its very beginning."""
    return (
        f"{group}={option}: its yaml file selects no component of {group}. Either its defaults say "
        f"/schema/{group}/NAME@_here_, or the file begins with the line '# @package _global_' and they say "
        f"/schema/{group}/NAME@{group}"
    )


def sweeper_params(overrides: Sequence[str]) -> dict[str, str]:
    """What a sweep file sweeps by Hydra's own field, `hydra.sweeper.params`."""
    config = hydra_compose([text for text in overrides if text.startswith(("sweeps=", "hydra"))])
    params: Any = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create({}))
    return {str(key): str(value) for key, value in params.items()}


def hydra_compose(overrides: Sequence[str]) -> DictConfig:
    """The whole config as Hydra composes it, its own section included. Raises ConfigError with Hydra's first line."""
    GlobalHydra.instance().clear()
    with warnings.catch_warnings(), hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        warnings.simplefilter("ignore")
        try:
            return hydra.compose("config", [*overrides, search_path_override()], return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(_in_words(str(error).split("\n")[0])) from None


def _in_words(line: str) -> str:
    """Hydra's error; where a yaml file names a component that nobody registered, what to type."""
    missing = re.search(r"Could not load 'schema/(\w+)/(\w+)'", line)
    if missing is None:
        return line
    kind, name = missing.groups()
    return (
        f"the yaml file of {kind}={name} asks for the component {kind}={name}, which no imported module registers "
        f"({near(name, registry.names(kind))}). Name the module that holds it: plugins=[my_module]"
    )


def search_path_override() -> str:
    """The user's own ./conf, and the folders that contain `sweeps/`, join Hydra's search path."""
    folders = [folder for folder in search_folders() if folder != conf_folder()]
    return f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in folders)}]"
