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
from omegaconf import DictConfig, OmegaConf, open_dict

from align_lab.base import registry, run_config, vary
from align_lab.base.errors import ConfigError
from align_lab.base.paths import conf_folder, search_folders
from align_lab.base.progress import counted
from align_lab.base.run_config import RunConfig
from align_lab.config import overrides as checks
from align_lab.config import run_length, schema, task_validation, validation
from align_lab.config.explained import explained, problem_of_file, unresolved
from align_lab.config.groups import GROUPS, own_files
from align_lab.config.overrides import parse
from align_lab.config.root import STUDY_KEYS, StudySettings

PLAIN_SEED = re.compile(r"seed=(0|[1-9]\d{0,8})")
OF_SEED = re.compile(r"\$\{[^}]*seed")  # an interpolation of the seed, in a user's own yaml file


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
        self._arms: dict[tuple[str, ...], RunConfig] = {}  # overrides but for the seed -> the first run with them
        self._field_problem = functools.cache(self._uncached_field_problem)

    def _uncached_field_problem(self, groups: tuple[str, ...], text: str) -> str | None:
        return checks.field_problem(self._compose_groups(groups)[0], self._parse(text))

    def runs(self, jobs: Sequence[Sequence[str]]) -> list[RunConfig]:
        """Compose and check every job. Raises one ConfigError with the mistakes of all of them."""
        messages: list[str] = []
        runs: list[RunConfig] = []
        for overrides in counted(jobs, "composed"):
            try:
                runs.append(self.run(overrides))
            except ConfigError as error:
                messages += str(error).split("\n")
        _raise_all(messages)
        return runs

    def run(self, overrides: Sequence[str]) -> RunConfig:
        """Compose and check one job. Raises ConfigError.

        Jobs that differ in nothing but the seed are composed and checked once: no rule asks for it, and no value is
        derived from it.
        """
        seeds, others = self._apart(overrides)
        if len(seeds) == 1 and (first := self._arms.get(others)):
            return RunConfig({**first.values, "seed": seeds[0]}, first.choices)
        messages, config, choices = self._merge(overrides)
        cfg = self._checked(messages, config, choices, steps_set=self._steps_set(overrides))
        if len(seeds) == 1 and not OF_SEED.search(OmegaConf.to_yaml(config)):
            self._arms[others] = cfg
        return cfg

    def _apart(self, overrides: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
        """The seeds that are set, as plain numbers from 0 on, and the other overrides."""
        seeds: list[int] = []
        others: list[str] = []
        for text in dict.fromkeys(overrides):
            if found := PLAIN_SEED.fullmatch(text):
                seeds.append(int(found[1]))
            else:
                others.append(text)
        return seeds, tuple(others)

    def _steps_set(self, overrides: Sequence[str]) -> bool:
        groups, fields, _ = self._partition(overrides)
        return run_length.are_set(groups, fields.values())

    def _checked(
        self, messages: list[str], config: DictConfig, choices: Mapping[str, str], *, steps_set: bool
    ) -> RunConfig:
        values = _plain(config, messages)
        if wrong := vary.problems(values["vary"]):
            _raise_all([*messages, *wrong])
        values["vary"] = list(vary.ordered(values["vary"]))
        if wrong := task_validation.expand_rewards(values):
            _raise_all([*messages, *wrong])  # which metrics there are follows from the judges
        if not steps_set:
            messages = [*messages, *run_length.settle(values)]
        cfg = RunConfig({key: value for key, value in values.items() if key not in STUDY_KEYS}, choices)
        _raise_all(messages + validation.problems(cfg.values))
        return cfg

    def values(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The values of one job, which may lack what a run needs: only overrides are checked. Raises ConfigError."""
        messages, config, _ = self._merge(overrides)
        _raise_all(messages)
        return _plain(config)

    def study(self, overrides: Sequence[str]) -> StudySettings:
        """The settings of the study, which its runs do not see. Raises ConfigError."""
        messages, config, _ = self._merge(overrides)
        container = _plain(config, messages)
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
            elif checks.selects_option(override):
                groups.append(text)
            else:
                fields[text] = override
        return tuple(groups), fields, messages


def _plain(config: DictConfig, messages: Sequence[str] = ()) -> dict[str, Any]:
    """The values, interpolations resolved. Raises ConfigError, with the `messages` so far, where that cannot be."""
    try:
        with explained():
            return run_config.plain(config)
    except ConfigError as error:
        _raise_all([*messages, unresolved(config) or str(error)])
        raise


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
    """The whole config as Hydra composes it, its own section included. Raises ConfigError."""
    GlobalHydra.instance().clear()
    _refuse_unreadable(overrides)
    with warnings.catch_warnings(), hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"), explained():
        warnings.simplefilter("ignore")
        return hydra.compose("config", [*overrides, search_path_override()], return_hydra_config=True)


def _refuse_unreadable(overrides: Sequence[str]) -> None:
    """Raises ConfigError for a user's yaml file, among the chosen ones, that is none."""
    chosen = ((group, option) for group, equals, option in (text.partition("=") for text in overrides) if equals)
    files = [(group, path) for group, option in chosen for path in own_files(group, option)[:1]]
    wrong = (problem_of_file(path, whole=group == "sweeps") for group, path in files)
    _raise_all([text for text in wrong if text])


def search_path_override() -> str:
    """The user's own ./conf, and the folders that contain `sweeps/`, join Hydra's search path."""
    folders = [folder for folder in search_folders() if folder != conf_folder()]
    quoted = (str(folder).replace("\\", "\\\\").replace("'", "\\'") for folder in folders)
    return "hydra.searchpath=[{}]".format(",".join(f"'file://{folder}'" for folder in quoted))
