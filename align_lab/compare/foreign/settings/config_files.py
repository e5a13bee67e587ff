"""A config as a program or its user leaves it -> dotted names and plain values. Nothing is unpickled or executed."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from align_lab.base.errors import ConfigError
from align_lab.compare.foreign.settings import command_lines
from align_lab.compare.foreign.settings.plain import plain

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle")
COMMANDS = (".sh", ".txt", ".slurm", ".sbatch")
READABLE = (".json", ".yaml", ".yml", ".toml", *COMMANDS)
REFERENCE = re.compile(r"\$\{(?:oc\.select:)?(?P<key>[\w.]+)(?:,\s*(?P<otherwise>[^{}]*))?\}")  # of OmegaConf
NAMESPACE = "namespace("  # how W&B stores an argparse namespace inside another one


def read(file: Path) -> dict[str, Any]:
    """The leaves of a config. Raises ConfigError for a file that is none, and for a pickle, which could run code."""
    if file.suffix in PICKLES:
        raise ConfigError(
            f"{file} is a pickle, which can run code when it is read: it is not opened. Write its content as text "
            "where it was made, for example: open('training_args.json', 'w').write(trainer.args.to_json_string())"
        )
    if file.suffix not in READABLE:
        raise ConfigError(f"{file} is no config: its ending is none of {', '.join(READABLE)}")
    try:
        content = _content(file)
    except (OSError, ValueError, SyntaxError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{file} is no config: it holds no names with values")
    return resolved(dict(leaves(content)))


def _content(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".toml":
        return tomllib.loads(text)
    if file.suffix == ".json":
        content = json.loads(text)
        recorded = isinstance(content, dict) and isinstance(content.get("args"), list) and "program" in content
        return command_lines.settings(content["args"]) if recorded else content  # wandb-metadata.json
    if file.suffix in COMMANDS:
        return command_lines.of_script(text)
    content = _yaml(text)
    return command_lines.settings(content) if isinstance(content, list) else content  # Hydra's overrides.yaml


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(error) from error


def leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names; W&B wraps each of its values as {value: ...}."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and "value" in value and set(value) <= {"value", "desc"}:
            value = value["value"]
        if isinstance(value, str) and value.startswith(NAMESPACE):
            value = _namespace(value)
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{name}.")
        else:
            yield name, plain(value)


def _namespace(text: str) -> Any:
    """`namespace(a=1, b=namespace(c='x'))` -> {a: 1, b: {c: x}}; other text stays as it is."""
    try:
        return _fields(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError):
        return text


def _fields(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        return {keyword.arg: _fields(keyword.value) for keyword in node.keywords if keyword.arg}
    if isinstance(node, ast.Name) and node.id in ("inf", "nan"):
        return float(node.id)
    return ast.literal_eval(node)


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """With Hydra's references to other fields replaced by their values; fields whose reference leads nowhere are left
    out.
    """
    settled = {key: _followed(value, values) for key, value in values.items()}
    return {key: value for key, value in settled.items() if not (isinstance(value, str) and "${" in value)}


def _followed(value: Any, values: Mapping[str, Any], depth: int = 5) -> Any:
    match = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if not match or depth == 0:
        return value
    if match["key"] in values:
        return _followed(values[match["key"]], values, depth - 1)
    return value if match["otherwise"] is None else plain(match["otherwise"].strip("'\""))
