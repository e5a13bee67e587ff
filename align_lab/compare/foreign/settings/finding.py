"""The config of a foreign run: typed, or found beside its file, with what its folder says of version and trainer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from align_lab.base.errors import ConfigError, near
from align_lab.compare.foreign.settings import config_files, programs
from align_lab.compare.foreign.settings.plain import plain, same, shown
from align_lab.compare.foreign.settings.programs import ConfigFile, ProgramTable
from align_lab.compare.foreign.table_files import CHECKPOINT, ForeignTable

VERSION, TRAINER = "version", "trainer"


@dataclass(frozen=True, kw_only=True)
class ConfigReading:
    """A config file's leaves; `name`: as tables show it."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TheirConfig:
    """All that is known of a run's config."""

    table: ProgramTable
    values: Mapping[str, tuple[Any, str]]  # their field -> value, and the file that says so
    conflicts: Mapping[str, str] = field(default_factory=dict)  # their field -> what its files say
    version: str = ""
    trainer: str = ""
    complete: bool = True  # a field that is not there has its default
    files: Sequence[str] = ()
    notes: Sequence[str] = ()


def find(run: ForeignTable, source: str, given: Mapping[str, str]) -> TheirConfig | None:
    """None where there is no config, or none whose program is known.

    Raises ConfigError for a config that was typed and cannot be read, and for a trainer that the program has not.
    """
    notes: list[str] = []
    table = programs.named(source) if source in programs.names() else None
    _check_trainer(table, given)
    readings = list(_readings(run, table, given, notes))
    table = table or programs.recognized({key for reading in readings for key in reading.values})
    if table is None:
        return None
    folders = _folders(run, given)
    counted = [one for one in (_renamed(one, table) for one in readings) if set(table.marks) & set(one.values)]
    if not counted:
        return _refused(table, given)
    said = _said(table, folders)
    values, conflicts = _merged([*counted, *_in_folders(folders, table.beside, []), *_as_readings(said)])
    return TheirConfig(
        table=table,
        values=values,
        conflicts=conflicts,
        version=given.get(VERSION) or next((one[VERSION] for one in said.values() if VERSION in one), ""),
        trainer=_trainer(table, set(values), said, given),
        complete="config" in given or not run.config or run.file is None,
        files=[one.name for one in counted],
        notes=notes,
    )


def _readings(
    run: ForeignTable, table: ProgramTable | None, given: Mapping[str, str], notes: list[str]
) -> Iterator[ConfigReading]:
    """What was typed, else what the run itself holds, else the files of its folder."""
    files, fallback = (table.files, table.fallback) if table else (_of_any_program(), ())
    if "config" in given:
        yield from _typed(Path(given["config"]), [*files, *fallback], notes)
    elif run.config:
        yield ConfigReading(name="its W&B config", values=config_files.resolved(dict(config_files.leaves(run.config))))
    else:
        folders = _folders(run, given)
        found = list(_in_folders(folders, [*files, *_of_this_run(run)], notes))
        yield from found or _in_folders(folders, fallback, notes)


def _of_any_program() -> list[ConfigFile]:
    """Where it is the content that says whose it is."""
    return [one for name in programs.names() for one in programs.named(name).files if not one.under]


def _typed(path: Path, known: Sequence[ConfigFile], notes: list[str]) -> Iterable[ConfigReading]:
    """The file, or the configs of the folder."""
    if not path.exists():
        raise ConfigError(f"config={path}: there is no such file or folder")
    if path.is_dir():
        return _in_folders([path], known, notes)
    under = next((one.under for one in known if Path(one.name).name == path.name), "")
    return [ConfigReading(name=path.name, values=_below(under, config_files.read(path)))]


def _of_this_run(run: ForeignTable) -> list[ConfigFile]:
    """grpo-s1.yaml beside grpo-s1.jsonl."""
    names = [f"{run.file.stem}{ending}" for ending in config_files.READABLE] if run.file else []
    return [ConfigFile(name=name) for name in names if run.file and name != run.file.name]


def _in_folders(folders: Sequence[Path], known: Iterable[ConfigFile], notes: list[str]) -> Iterator[ConfigReading]:
    """The configs that are there; one that cannot be read is a note, because nobody asked for it."""
    seen: set[Path] = set()
    for one in known:
        places = (place for folder in folders for place in (folder / one.name, folder / Path(one.name).name))
        path = next((place.resolve() for place in places if place.is_file()), None)
        if path and path not in seen:
            seen.add(path)
            try:
                yield ConfigReading(
                    name=one.name.removeprefix("../"), values=_below(one.under, config_files.read(path))
                )
            except ConfigError as error:
                notes.append(str(error))


def _below(under: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{under}.{key}" if under else key: value for key, value in values.items()}


def _folders(run: ForeignTable, given: Mapping[str, str]) -> list[Path]:
    """Where a run's other files lie: the typed config's folder, its own, and that around a checkpoint."""
    folders: list[Path] = []
    if "config" in given:
        typed = Path(given["config"])
        folders.append(typed if typed.is_dir() else typed.parent)
    if run.file:
        folders.append(run.file.parent)
        folders += [run.file.parent.parent] if CHECKPOINT.fullmatch(run.file.parent.name) else []
    return folders


def _said(table: ProgramTable, folders: Sequence[Path]) -> dict[str, dict[str, str]]:
    """What text files say, by file: the first match of each pattern."""
    said: dict[str, dict[str, str]] = {}
    for name, patterns in table.said.items():
        places = (place for folder in folders for place in (folder / name, folder / "files" / name))  # files/: W&B's
        for text in map(_text, places):
            found = {key: re.search(pattern, text, re.MULTILINE) for key, pattern in patterns.items()}
            told = {key: match[1] for key, match in found.items() if match and match[1] != "None"}
            if told:
                said.setdefault(name, told)
    return said


def _as_readings(said: Mapping[str, Mapping[str, str]]) -> list[ConfigReading]:
    """Fields that text files name."""
    fields = {
        name: {key: plain(text) for key, text in told.items() if key not in (VERSION, TRAINER)}
        for name, told in said.items()
    }
    return [ConfigReading(name=name, values=values) for name, values in fields.items() if values]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _renamed(reading: ConfigReading, table: ProgramTable) -> ConfigReading:
    return ConfigReading(
        name=reading.name, values={table.new_name(key): value for key, value in reading.values.items()}
    )


def _merged(readings: Sequence[ConfigReading]) -> tuple[dict[str, tuple[Any, str]], dict[str, str]]:
    """One value a field; fields of which two files say different things are conflicts."""
    said: dict[str, list[tuple[Any, str]]] = {}
    for reading in readings:
        for key, value in reading.values.items():
            said.setdefault(key, []).append((value, reading.name))
    conflicts = {
        key: "; ".join(f"{shown(value)} in {name}" for value, name in several)
        for key, several in said.items()
        if any(not same(value, several[0][0]) for value, _ in several)
    }
    return {key: several[0] for key, several in said.items() if key not in conflicts}, conflicts


def _trainer(
    table: ProgramTable, keys: set[str], said: Mapping[str, Mapping[str, str]], given: Mapping[str, str]
) -> str:
    """As typed, else as the model card says, else by the names that only one trainer has."""
    told = given.get(TRAINER, "").lower() or next((one[TRAINER].lower() for one in said.values() if TRAINER in one), "")
    if told in table.trainers:
        return told
    return next((name for name, marks in table.trainers.items() if keys & set(marks)), "")


def _check_trainer(table: ProgramTable | None, given: Mapping[str, str]) -> None:
    typed = given.get(TRAINER, "").lower()
    if table and typed and typed not in table.trainers:
        raise ConfigError(f"trainer={typed} is not known to {table.title}: {near(typed, table.trainers)}")


def _refused(table: ProgramTable, given: Mapping[str, str]) -> None:
    """A file that was typed must be a config of the program; one that merely lies there need not."""
    if "config" in given:
        known = ", ".join(table.marks[:4])
        raise ConfigError(f"config={given['config']} holds no setting of {table.title} ({known}, ...)")
