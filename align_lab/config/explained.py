"""What Hydra, OmegaConf and yaml raise about a config, in our words: the key, what was found, what to type."""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from align_lab.base import registry, run_config
from align_lab.base.errors import AlignLabError, ConfigError, near, short
from align_lab.config.type_words import type_in_words

INTERPOLATION = "${field} stands for the value of another field, and ??? for a value that is missing"


@contextmanager
def explained() -> Generator[None]:
    """Raise ConfigError for whatever a library raises about a config in this context.

    The libraries check little before they use a value, so that a wrong one surfaces as any exception.
    """
    try:
        yield
    except AlignLabError:
        raise
    except Exception as error:
        raise ConfigError(in_words(error)) from None


def in_words(error: BaseException) -> str:
    """The sentence of a ConfigError."""
    chain = list(_chain(error))
    if text := _without_component(str(error)):
        return text
    named = [one for one in chain if isinstance(one, OmegaConfBaseException)]
    if named:
        return _file(chain) + _of_field(next((one for one in named if one.full_key), named[-1]))
    for one in reversed(chain):
        if isinstance(one, yaml.YAMLError | UnicodeDecodeError | RecursionError):
            return _file(chain) + of_file(one)
    lines = " ".join(str(error).split())
    name = "" if type(error).__module__.startswith("hydra") else f"{type(error).__name__}: "
    return f"{name}{lines[:600]}"


def unresolved(config: DictConfig) -> str:
    """The first field whose interpolation leads nowhere, or whose value is missing; empty where there is none."""
    for key, raw in run_config.leaves(OmegaConf.to_container(config, resolve=False)):  # type: ignore[arg-type]
        if "${" in str(raw) or "???" in str(raw):
            try:
                OmegaConf.to_container(OmegaConf.create({"": OmegaConf.select(config, key, throw_on_missing=True)}))
            except Exception as error:
                reason = " ".join(str(error).split("\n")[0].split())
                return f"{key}={short(str(raw))}: {reason}. {INTERPOLATION}. Write a value"
    return ""


def problem_of_file(path: Path, *, whole: bool) -> str | None:
    """Why a yaml file cannot be a part of a config; None where it can. `whole`: an empty one says nothing."""
    try:
        if path.read_bytes().startswith(codecs.BOM_UTF8):
            return f"{path}: it begins with a byte order mark. Save it as UTF-8 without one"
        content = OmegaConf.load(path)
    except Exception as error:
        return f"{path}: {of_file(error)}"
    if not isinstance(content, DictConfig):
        return f"{path}: it must hold fields, `key: value` on a line each, and holds a list"
    if whole and not content:
        return f"{path}: it holds nothing"
    return None


def of_file(error: BaseException) -> str:
    """Why a text is no yaml."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not a text in UTF-8 (byte {error.start}). Save it as UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or holds itself. Write it without aliases"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark
        return f"line {mark.line + 1 if mark else '?'} is no yaml: {error.problem or error.context}"
    if isinstance(error, OmegaConfBaseException):
        return _of_field(error)
    if isinstance(error, OSError):
        return f"it cannot be read ({error.strerror or error})"
    return f"it is no yaml: {' '.join(str(error).split())[:200]}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it was raised for."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _file(chain: list[BaseException]) -> str:
    """The part of the config that Hydra names."""
    for one in chain:
        if match := re.search(r"(?:In|merging) '([^']+)'", str(one)):
            return "" if match[1] in ("config", "schema/run") else f"{match[1]}.yaml: "
    return ""


def _of_field(error: OmegaConfBaseException) -> str:
    """The dotted key, what is wrong with its value, and what is allowed."""
    key = error.full_key or str(error.key or "")
    parent: Any = error.parent_node
    first = str(error).split("\n")[0]
    if key == "sweeps":
        first = "Its first line must be '# @package _global_'"
        return f"its fields would be placed under `sweeps` and have no effect. {first}"
    if "not in '" in first and isinstance(parent, DictConfig):
        hint = near(str(error.key), map(str, parent))
        all_of_them = "All fields: align_lab --cfg job"
        return f"there is no {key}. {all_of_them if hint == 'allowed: ...' else hint}"
    if "nterpolation" in type(error).__name__ or "Missing" in type(error).__name__ or "Grammar" in type(error).__name__:
        return f"{f'{key}: ' if key else ''}{first}. {INTERPOLATION}. Write a value"
    nodes: Any = parent
    node = nodes._get_node(error.key) if isinstance(parent, DictConfig) and error.key in parent else error.child_node
    allowed = f"it must be {type_in_words(node, 'of its declared type')}" if node is not None else first
    return (f"{key}: " if key else "") + allowed + (f" ({first})" if node is not None else "")


def _without_component(text: str) -> str:
    """A yaml file names a component that nobody registered: what to type. Empty where that is not what happened."""
    missing = re.search(r"Could not load 'schema/(\w+)/(\w+)'", text)
    if missing is None:
        return ""
    kind, name = missing.groups()
    return (
        f"the yaml file of {kind}={name} asks for the component {kind}={name}, which no imported module registers "
        f"({near(name, registry.names(kind))}). Name the module that holds it: plugins=[my_module]"
    )
