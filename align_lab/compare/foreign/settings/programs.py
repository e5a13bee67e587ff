"""The tables of `programs/`: which field of a program is which of ours, where it is found, and its defaults by version.

A table has the sections of `ProgramTable`; an entry of `fields` has those of `FieldRule`. docs/other_trainers.md says
what each means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from align_lab.base.errors import ConfigError, near
from align_lab.compare.foreign.settings.plain import plain
from align_lab.compare.foreign.settings.versions import order

TABLES = Path(__file__).parent / "programs"
NAMED = re.compile(r"\{([^{}]+)\}")  # a field of theirs inside a text
ANY = "any"  # the defaults of every trainer of a program
MISSING = object()


@dataclass(frozen=True, kw_only=True)
class FieldRule:
    """How one of our fields is made from theirs. Of several rules the first whose conditions hold counts."""

    source: str  # where that stands
    of: Sequence[str] = ()  # their fields
    over: Sequence[str] = ()  # their fields that these are divided by
    by: str = "same"  # a conversion
    value: Any = MISSING  # instead of theirs: what the program does in any case; with `of`: where these are known
    say: str = ""  # instead of theirs: a text with their fields in braces, for what no value of ours is
    when: Mapping[str, Any] = field(default_factory=dict)  # their field -> the value, or values, that it must have
    unless: Mapping[str, Any] = field(default_factory=dict)  # and must not have
    trainers: Sequence[str] = ()  # of those only
    names: Mapping[str, Any] = field(default_factory=dict)  # their value -> ours

    @property
    def keys(self) -> set[str]:
        """Every field of theirs that it looks at."""
        return {*self.of, *self.over, *self.conditions}

    @property
    def conditions(self) -> set[str]:
        """Those that only decide whether it counts, or that its text names."""
        return {*self.when, *self.unless, *NAMED.findall(self.say)}


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """A file that may hold their config, and the name that its fields go below."""

    name: str
    under: str = ""


@dataclass(frozen=True, kw_only=True)
class ProgramTable:
    """A program: how its configs are found and known, what its fields are among ours, and their defaults."""

    name: str
    title: str
    repository: str
    versions: Sequence[str]  # those whose defaults were read
    marks: Sequence[str]  # names by which a config is known to be this program's
    files: Sequence[ConfigFile]  # its configs
    pass_on: str  # what a user passes where none is found
    fields: Mapping[str, Sequence[FieldRule]]  # ours -> rules
    beside: Sequence[ConfigFile] = ()  # files that complete a config
    fallback: Sequence[ConfigFile] = ()  # files that count where there is no config
    said: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict
    )  # text file -> field, version or trainer -> pattern
    trainers: Mapping[str, Sequence[str]] = field(default_factory=dict)  # trainer -> names that only its config has
    apart: Mapping[str, Sequence[str]] = field(default_factory=dict)  # trainer -> fields of ours that it has no use for
    prefix: str = ""  # before names that are ours already
    renamed: Mapping[str, str] = field(default_factory=dict)  # old name -> new
    ignored: Sequence[str] = ()  # patterns of names that change no result
    defaults: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(
        default_factory=dict
    )  # trainer, field, first version
    defaults_source: str = ""

    def default(self, key: str, trainer: str, version: str) -> Any:
        """What a field is where nothing is written; MISSING where that is not known."""
        by_version = self.defaults.get(trainer, {}).get(key) or self.defaults.get(ANY, {}).get(key) or {}
        known = [first for first in by_version if order(first) <= order(version)]
        return by_version[max(known, key=order)] if known else MISSING

    def has_default(self, key: str) -> bool:
        """In any version, of any trainer."""
        return any(key in of_trainer for of_trainer in self.defaults.values())

    def new_name(self, key: str) -> str:
        """A field under its newest name."""
        return self.renamed.get(key, key)

    @property
    def keys(self) -> set[str]:
        """Every field of theirs that the table knows."""
        return {key for rules in self.fields.values() for rule in rules for key in rule.keys}

    def decides_nothing(self, key: str) -> bool:
        """Is it logging, a path, a server, or anything else that changes no result?"""
        return any(fnmatchcase(key, pattern) for pattern in self.ignored)


def names() -> list[str]:
    """Every program that there is a table for."""
    return sorted(path.stem for path in TABLES.glob("*.yaml"))


@cache
def named(name: str) -> ProgramTable:
    """The table of a program. Raises ConfigError for a table with entries that are not understood."""
    content = read(TABLES / f"{name}.yaml")
    check(f"{name}.yaml", content, ProgramTable)
    lists = {key: _files(content[key]) for key in ("files", "beside", "fallback") if key in content}
    rules = {ours: _rules(f"{name}.yaml: {ours}", entries) for ours, entries in content["fields"].items()}
    defaults = {
        trainer: {key: _by_version(value) for key, value in of_trainer.items()}
        for trainer, of_trainer in content.get("defaults", {}).items()
    }
    return ProgramTable(**{**content, **lists, "name": name, "fields": rules, "defaults": defaults})


def recognized(keys: set[str]) -> ProgramTable | None:
    """The program whose names these are; None where no table has any of them, or two have equally many."""
    tables = [named(name) for name in names()]
    marked = {table.name: len({table.new_name(key) for key in keys} & set(table.marks)) for table in tables}
    first, second, *_ = sorted(marked, key=marked.__getitem__, reverse=True)
    return named(first) if marked[first] > marked[second] else None


def _rules(where: str, entries: Sequence[Mapping[str, Any]]) -> list[FieldRule]:
    for entry in entries:
        check(where, entry, FieldRule)
    return [FieldRule(**{key: _part(key, value) for key, value in entry.items()}) for entry in entries]


def _part(key: str, value: Any) -> Any:
    """An entry's part as FieldRule has it."""
    if key in ("of", "over", "trainers"):
        return value if isinstance(value, list) else [value]
    if key == "names":
        return {str(theirs).lower(): ours for theirs, ours in value.items()}
    return plain(value) if key == "value" else value


def _files(entries: Sequence[Any]) -> list[ConfigFile]:
    return [ConfigFile(name=entry) if isinstance(entry, str) else ConfigFile(**entry) for entry in entries]


def _by_version(value: Any) -> Mapping[str, Any]:
    """{first version: value}; a value alone is that of every version."""
    return {str(first): plain(one) for first, one in value.items()} if isinstance(value, dict) else {"0": plain(value)}


def check(where: str, entry: Mapping[str, Any], kind: type) -> None:
    """Raises ConfigError for an entry with a part that its kind has not."""
    known = {one.name for one in fields(kind)}
    for key in entry:
        if key not in known:
            raise ConfigError(f"{where}: {key!r} is not known: {near(str(key), known)}")


def read(path: Path) -> dict[str, Any]:
    """A table as yaml has it."""
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))
