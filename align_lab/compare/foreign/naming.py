"""Arm and seed of a foreign run: as typed, else from a config beside its file, else from names of folders and files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from align_lab.base.errors import ConfigError
from align_lab.base.files import read_json
from align_lab.compare.foreign.settings.config_files import leaves
from align_lab.compare.foreign.sources import MetricMap
from align_lab.compare.foreign.table_files import ForeignTable, number

CONFIGS = ("config.yaml", "config.json", "args.json", ".hydra/config.yaml", "files/config.yaml")
SEED = re.compile(r"(?:^|(?<=[^a-zA-Z0-9]))(?:seed|s)[-_= ]?(?P<seed>\d+)(?=$|[^a-zA-Z0-9])", re.IGNORECASE)
EDGES = " -_=.,/"
TYPED = ("arm", "seed", "map", "config", "version", "trainer", "reward")


def identify(table: ForeignTable, source: MetricMap, given: Mapping[str, str]) -> tuple[str, int]:
    """Raises ConfigError that says what to type where arm or seed is not known."""
    config = configured(table)
    seed, arm = _seed(table, config, source, given), _arm(table, config, source, given)
    if seed is None:
        raise ConfigError(_unknown("seed", "seed=1", table, source))
    if not arm:
        raise ConfigError(_unknown("arm", "arm=grpo", table, source))
    return arm, seed


def configured(table: ForeignTable) -> dict[str, Any]:
    """The leaves of a run's config: what its file holds of it, else what lies beside the file."""
    return dict(leaves(table.config)) or _beside(table.file)


def _seed(table: ForeignTable, config: Mapping[str, Any], source: MetricMap, given: Mapping[str, str]) -> int | None:
    """As typed, else as configured, else from the innermost name that holds one."""
    if "seed" in given:
        return _typed_seed(given)
    seed = _configured_seed(config, source)
    matches = (SEED.search(part) for part in reversed(table.parts))
    return next((int(match["seed"]) for match in matches if match), None) if seed is None else seed


def _arm(table: ForeignTable, config: Mapping[str, Any], source: MetricMap, given: Mapping[str, str]) -> str:
    """As typed, else as configured, else the innermost name that is more than a seed; empty where there is none."""
    recorded = (str(config[key]) for key in source.arm if config.get(key))
    named = (rest for part in reversed(table.parts) if (rest := _without_seed(part)))
    return given.get("arm") or next(recorded, "") or next(named, "")


def _unknown(what: str, example: str, table: ForeignTable, source: MetricMap) -> str:
    return (
        f"the {what} of {table.name} ({table.file or source.title}) is not known. Type it: "
        f"--from {source.name} {table.file or 'PATH'} {example}, or name its folder or file like grpo-s1, "
        f"or put `{example.replace('=', ': ')}` into a config.yaml beside it"
    )


def _typed_seed(given: Mapping[str, str]) -> int:
    if not given["seed"].isdigit():
        raise ConfigError(f"seed={given['seed']} is no seed: a whole number, such as seed=1")
    return int(given["seed"])


def _configured_seed(config: Mapping[str, Any], source: MetricMap) -> int | None:
    seeds = (number(config[key]) for key in source.seed if key in config)
    return next((int(seed) for seed in seeds if seed is not None and seed.is_integer()), None)


def _without_seed(part: str) -> str:
    """`grpo-s1-large` -> `grpo-large`."""
    match = SEED.search(part)
    if not match:
        return part
    before, after = part[: match.start()].rstrip(EDGES), part[match.end() :].strip(EDGES)
    return f"{before}-{after}" if before and after else before + after


def _beside(file: Path | None) -> dict[str, Any]:
    """The leaves of the configs in the folder of a file; the first that names a field counts."""
    config: dict[str, Any] = {}
    places = [file.parent / name for name in CONFIGS] if file else []
    for place in places:
        for key, value in leaves(_mapping(place)):
            config.setdefault(key, value)
    return config


def _mapping(file: Path) -> dict[str, Any]:
    """A JSON or yaml object; empty where there is none. A config is a help, never a need."""
    if file.suffix == ".json":
        content: Any = read_json(file)
    elif not file.exists():
        return {}
    else:
        import yaml

        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return {}
    return content if isinstance(content, dict) else {}


def typed(words: Sequence[str]) -> tuple[str, str, dict[str, str]]:
    """The words behind one --from: source, path, and TYPED=VALUE. Raises ConfigError for anything else."""
    usage = "--from SOURCE PATH [arm=NAME] [seed=N] [map=FILE] [config=FILE] [version=V] [trainer=NAME] [reward=NAME]"
    if len(words) < 2:
        raise ConfigError(f"--from {' '.join(words)} lacks its path: {usage}")
    given = {}
    for word in words[2:]:
        key, equals, value = word.partition("=")
        if key not in TYPED or not equals or not value:
            raise ConfigError(f"{word!r} behind --from is not understood: {usage}. A STUDY stands before --from")
        given[key] = value
    return words[0], words[1], given
