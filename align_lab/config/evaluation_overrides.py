"""Overrides of a finished run's `evaluation` section, checked as those of a new run are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from align_lab.base import registry, run_config
from align_lab.base.errors import ConfigError
from align_lab.base.run_config import RunConfig
from align_lab.base.settings import Evaluation
from align_lab.config import overrides as checks
from align_lab.config import task_validation
from align_lab.config.schema import schema

SECTION = "evaluation"


def evaluated(values: Mapping[str, Any], choices: Mapping[str, str], overrides: Sequence[str]) -> RunConfig:
    """The config of a run with another evaluation. Its components must be registered.

    Raises ConfigError that names every wrong override, also those outside `evaluation`: what was trained stays.
    """
    from omegaconf import OmegaConf

    typed = OmegaConf.merge(OmegaConf.structured(schema(Evaluation)), values[SECTION])
    config: Any = OmegaConf.create({**values, SECTION: typed})
    messages: list[str] = []
    for override in checks.parse(overrides):
        key, text = override.key_or_group, override.input_line
        if key.partition(".")[0] != SECTION:
            messages.append(f"{text}: only fields under {SECTION} can be changed, the rest is what was trained")
        elif problem := checks.field_problem(config, override):
            messages.append(problem)
        else:
            checks.apply(config, override)
    changed = run_config.plain(config)
    messages += task_validation.expand_rewards(changed)
    messages += registry.problems(Evaluation, changed[SECTION], f"{SECTION}.")
    if not messages:
        messages = task_validation.problems(changed, needs=None)
    if messages:
        raise ConfigError("\n".join(dict.fromkeys(messages)))
    return RunConfig(changed, choices)
