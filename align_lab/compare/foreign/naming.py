"""Arm and seed of a foreign run: as typed, else from a config beside its file, else from names of folders and files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from align_lab.base.errors import ConfigError
from align_lab.base.files import read_json
from align_lab.compare.foreign.sources import MetricMap
from align_lab.compare.foreign.table_files import Table, number

CONFIGS = ("config.yaml", "config.json", "args.json", ".hydra/config.yaml", "files/config.yaml")
SEED = re.compile(r"(?:^|(?<=[^a-zA-Z0-9]))(?:seed|s)[-_= ]?(?P<seed>\d+)(?=$|[^a-zA-Z0-9])", re.IGNORECASE)
EDGES = " -_=.,/"


def identify(table: Table, source: MetricMap, given: Mapping[str, str]) -> tuple[str, int]:
    """Raises ConfigError that says what to type where arm or seed cannot be told."""
    config = dict(_leaves(table.config)) or _beside(table.file)
    seed = _typed_seed(given) if "seed" in given else _configured_seed(config, source)
    if seed is None:
        seed = next((int(found["seed"]) for part in reversed(table.parts) if (found := SEED.search(part))), None)
    arm = given.get("arm") or next((str(config[key]) for key in source.arm if config.get(key)), None)
    arm = arm or next((rest for part in reversed(table.parts) if (rest := _without_seed(part))), None)
    if seed is None or not arm:
        lacks = "seed" if seed is None else "arm"
        example = "seed=1" if seed is None else "arm=grpo"
        raise ConfigError(
            f"the {lacks} of {table.name} ({table.file or source.title}) cannot be told. Type it: "
            f"--from {source.name} {table.file or 'PATH'} {example}, or name its folder or file like grpo-s1, "
            f"or put `{example.replace('=', ': ')}` into a config.yaml beside it"
        )
    return arm, seed


def _typed_seed(given: Mapping[str, str]) -> int:
    if not given["seed"].isdigit():
        raise ConfigError(f"seed={given['seed']} is no seed: a whole number, such as seed=1")
    return int(given["seed"])


def _configured_seed(config: Mapping[str, Any], source: MetricMap) -> int | None:
    found = (number(config[key]) for key in source.seed if key in config)
    return next((int(seed) for seed in found if seed is not None and seed.is_integer()), None)


def _without_seed(part: str) -> str:
    """`grpo-s1-large` -> `grpo-large`."""
    found = SEED.search(part)
    if not found:
        return part
    before, after = part[: found.start()].rstrip(EDGES), part[found.end() :].strip(EDGES)
    return f"{before}-{after}" if before and after else before + after


def _beside(file: Path | None) -> dict[str, Any]:
    """The leaves of the configs in the folder of a file; the first that names a field counts."""
    found: dict[str, Any] = {}
    places = [file.parent / name for name in CONFIGS] if file else []
    for place in places:
        for key, value in _leaves(_mapping(place)):
            found.setdefault(key, value)
    return found


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


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names; W&B wraps each of its values as {value: ...}."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and "value" in value and set(value) <= {"value", "desc"}:
            value = value["value"]
        if isinstance(value, dict):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def spoken(words: Sequence[str]) -> tuple[str, str, dict[str, str]]:
    """The words behind one --from: source, path, and arm=, seed=, map=. Raises ConfigError for anything else."""
    usage = "--from SOURCE PATH [arm=NAME] [seed=N] [map=FILE]"
    if len(words) < 2:
        raise ConfigError(f"--from {' '.join(words)} lacks its path: {usage}")
    given = {}
    for word in words[2:]:
        key, equals, value = word.partition("=")
        if key not in ("arm", "seed", "map") or not equals or not value:
            raise ConfigError(f"{word!r} behind --from is not understood: {usage}. A STUDY stands before --from")
        given[key] = value
    return words[0], words[1], given
