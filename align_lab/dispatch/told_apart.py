"""What tells runs of one arm and seed apart: the fields in which their configs differ, as `status` shows them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from align_lab.base.roles import role
from align_lab.base.run_config import RunConfig, leaves

MOST = 3  # fields that a row shows


def of_study(runs: Sequence[RunConfig], arm: Callable[[RunConfig], str]) -> dict[str, dict[str, Any]]:
    """Name of a run -> the fields of its own, for arms of which one command has two runs with the same seed."""
    arms: dict[str, list[RunConfig]] = defaultdict(list)
    for run in runs:
        arms[arm(run)].append(run)
    own = (
        fields({run.name: dict(leaves(run.values)) for run in group})
        for group in arms.values()
        if alike([run.seed for run in group])
    )
    return {name: values for group in own for name, values in group.items()}


def alike(seeds: Sequence[int | None]) -> bool:
    """Does a seed occur twice, so that an arm and a seed do not name one run?"""
    return len(set(seeds)) < len(seeds)


def labels(configs: Mapping[str, Mapping[str, Any]], seeds: Mapping[str, int | None]) -> dict[str, str]:
    """What the row of each run of an arm shows, by the run's name: `algo.kl_coef=0.1`, or also the hash of its config
    where that does not tell all of them apart."""
    shown = {
        name: " ".join([f"{key}={_text(value)}" for key, value in own.items()][:MOST])
        for name, own in fields(configs).items()
    }
    if len({(shown[name], seeds[name]) for name in configs}) == len(configs):
        return shown
    return {name: f"{text} {name.rpartition('-')[2]}".strip() for name, text in shown.items()}


def fields(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Name of a run -> the leaves in which the configs differ, apart from the seed and what changes no result."""
    keys = dict.fromkeys(key for config in configs.values() for key in config)
    apart = [
        key
        for key in keys
        if key != "seed" and role(key) != "none" and len({_text(one.get(key)) for one in configs.values()}) > 1
    ]
    return {name: {key: config[key] for key in apart if key in config} for name, config in configs.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
