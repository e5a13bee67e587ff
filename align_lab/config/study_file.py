"""A study in one file, from any folder: `align_lab FILE.yaml`, read as the overrides that it stands for.

    question: Does RLOO do better than DPO on my prompts?
    plugins: [my_rewards]
    model: hf                      # an option of a group ...
    data: {name: files, path: prompts.jsonl}   # ... or an option with fields
    train: {lr: 1e-4, steps: 100}
    arms: {rloo: [algo=rloo], dpo: [algo=dpo]}
    seeds: [0, 1, 2]

A sweep file (`sweeps=NAME`) may be written so too. What the command line says comes after the file, and wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

from align_lab.base.errors import ConfigError, near, short
from align_lab.base.paths import STUDY_FILE_ENDINGS, is_study_file, search_folders
from align_lab.config.explained import problem_of_file
from align_lab.config.groups import GROUPS
from align_lab.config.root import STUDY_KEYS

ARM = re.compile(r"\w[\w .+@-]*", re.ASCII)
ARM_WORDS = "letters of ASCII, digits and '_', '-', '.', '+', '@'"
PACKAGE = b"# @package _global_"
HOW = "A study file holds fields, for example: arms: {rloo: [algo=rloo], dpo: [algo=dpo]}"


def expanded(args: Sequence[str]) -> list[str]:
    """The words of the command line, study files and sweep files of this form replaced by their overrides.

    Raises ConfigError for a file that cannot be read, with what is wrong with it.
    """
    words: list[str] = []
    from_files: list[str] = []
    for arg in args:
        if is_study_file(arg):
            from_files += _of_file(Path(arg), by_itself=True)
        elif (file := _without_package(arg)) is not None:
            from_files += _of_file(file, by_itself=False)
        else:
            words.append(arg)
    typed = {word.lstrip("+~").partition("=")[0] for word in words}
    return [*(text for text in from_files if text.partition("=")[0] not in typed), *words]


def _without_package(arg: str) -> Path | None:
    """The file of `sweeps=NAME` that Hydra would put below a key of its own, because it does not say otherwise."""
    key, _, name = arg.partition("=")
    if key != "sweeps" or not name or (file := sweep_file(name)) is None:
        return None
    first = file.read_bytes().lstrip().partition(b"\n")[0]
    if first.startswith(b"# @package") and not first.startswith(PACKAGE):
        raise ConfigError(
            f"{file}: its first line is {short(first.decode(errors='replace'))!r}. "
            f"Write {PACKAGE.decode()!r}, or leave the line out"
        )
    return None if first.startswith(PACKAGE) else file


def sweep_file(name: str) -> Path | None:
    """The file of `sweeps=NAME`, the first on the search path."""
    files = (folder / "sweeps" / f"{name}.yaml" for folder in search_folders())
    return next((file for file in files if file.is_file()), None)


def _of_file(file: Path, *, by_itself: bool) -> list[str]:
    content = read(file)
    if by_itself or "study" not in content:
        content = {"study": file.stem, **content}
    return list(overrides(content, str(file)))


def read(file: Path) -> dict[str, Any]:
    """The content of a study file, interpolations as they are written. Raises ConfigError."""
    if not file.is_file():
        there = [str(one) for one in file.parent.glob("*") if one.suffix in STUDY_FILE_ENDINGS]
        known = near(str(file), there) if there else f"no YAML file is in {file.parent.resolve()}"
        raise ConfigError(f"there is no file {file}: {known}. To begin with one: align_lab init my_project")
    if wrong := problem_of_file(file, whole=True):
        raise ConfigError(f"{wrong}. {HOW}")
    content = cast("dict[Any, Any]", OmegaConf.to_container(OmegaConf.load(file), resolve=False))
    return {str(key): value for key, value in content.items()}


def overrides(content: Mapping[str, Any], where: str) -> Iterator[str]:
    """The overrides that a study file stands for. Raises ConfigError for what no override can say."""
    if "arms" in content:
        _check_arms(content["arms"], where)
    for key, value in content.items():
        if key == "defaults":
            yield from _choices(value, where)
        elif key == "hydra":
            raise ConfigError(
                f"{where}: hydra: runs are planned here. Write the values to be swept as arms: {{NAME: [...]}}"
            )
        elif key in GROUPS:
            yield from _of_group(key, value)
        elif key in STUDY_KEYS and key != "budget":
            yield f"{key}={written(value)}"
        else:
            yield from _fields(key, value)


def check_arm(name: str) -> None:
    """Raises ConfigError for a name that a folder, a table or a chart could not show."""
    if not ARM.fullmatch(name):
        raise ConfigError(f"arms.{name}: the name of an arm is {ARM_WORDS}, for example large_groups")


def _check_arms(arms: Any, where: str) -> None:
    named: Mapping[Any, Any] = cast("Mapping[Any, Any]", arms) if isinstance(arms, Mapping) else {}
    if not named or not all(isinstance(each, list) for each in named.values()):
        raise ConfigError(
            f"{where}: arms={short(str(cast(Any, arms)))}: an arm is a name with a list of overrides. Write arms: "
            "{rloo: [algo=rloo], dpo: [algo=dpo]}"
        )
    for name in named:
        check_arm(str(name))


def _choices(value: Any, where: str) -> Iterator[str]:
    """A defaults list as Hydra has it: `- override /model: hf`."""
    entries = cast("list[Any]", value) if isinstance(value, list) else [value]
    for entry in entries:
        if entry == "_self_":
            continue
        if not isinstance(entry, dict):
            raise ConfigError(f"{where}: defaults: {entry!r} is not understood. Write the option itself: model: hf")
        for group, option in cast("dict[Any, Any]", entry).items():
            yield f"{str(group).removeprefix('override').strip().lstrip('/')}={option}"


def _of_group(group: str, value: Any) -> Iterator[str]:
    """`model: hf`, or `model: {name: hf, path: ...}`, or fields of whatever option it is."""
    if not isinstance(value, Mapping):
        yield f"{group}={'null' if value is None else value}"
        return
    fields = dict(cast("Mapping[str, Any]", value))
    if "name" in fields:
        yield f"{group}={fields.pop('name')}"
    for name, each in fields.items():
        yield from _fields(f"{group}.{name}", each)


def _fields(key: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping) or not value:
        yield f"{key}={written(value)}"
        return
    for name, each in cast("Mapping[Any, Any]", value).items():
        yield from _fields(f"{key}.{name}", each)


def written(value: Any) -> str:
    """A value in the grammar of overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return "{" + ", ".join(f"{key}: {written(each)}" for key, each in items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(each) for each in cast("list[Any]", value)) + "]"
    if isinstance(value, int | float):
        return repr(value)
    return QuotedString(text=str(value), quote=Quote.single).with_quotes()
