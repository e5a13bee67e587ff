"""A program's config in our fields, by its table: each with where its value comes from, or why it is not known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align_lab.compare.foreign.settings.conversions import CONVERSIONS
from align_lab.compare.foreign.settings.finding import TheirConfig
from align_lab.compare.foreign.settings.plain import plain, same, shown
from align_lab.compare.foreign.settings.programs import MISSING, NAMED, FieldRule, ProgramTable
from align_lab.compare.foreign.settings.versions import TableVersion, table_version


@dataclass(frozen=True, kw_only=True)
class Known:
    """A value of theirs in our unit. assumed: it rests on the default of another version."""

    value: Any
    source: str
    assumed: bool = False


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """Why a value is not known."""

    why: str


@dataclass(frozen=True, kw_only=True)
class TheirSettings:
    """A run's config in our fields. `apart`: fields that its trainer has no use for; `unmapped`: names of theirs that
    the table does not know; `version`: in words.
    """

    program: str
    version: str
    fields: Mapping[str, Known | Unknown]
    apart: Sequence[str] = ()
    unmapped: Sequence[str] = ()
    files: Sequence[str] = ()
    notes: Sequence[str] = ()


def translate(config: TheirConfig) -> TheirSettings:
    """Every field that the program's table has a rule for, where the rule's conditions hold."""
    table = config.table
    lookup = _Lookup(config, table_version(table.versions, config.version))
    translated = {ours: _field(rules, lookup) for ours, rules in table.fields.items()}
    return TheirSettings(
        program=table.title,
        version=_version_in_words(config, lookup.version),
        fields=_same_names(config) | {ours: value for ours, value in translated.items() if value is not None},
        apart=table.apart.get(config.trainer, ()),
        unmapped=sorted(_unmapped(config)),
        files=config.files,
        notes=[*config.notes, *_conflicts(config)],
    )


def _same_names(config: TheirConfig) -> dict[str, Known | Unknown]:
    """Fields that have our names already, below the table's prefix."""
    prefix = config.table.prefix
    return {
        key.removeprefix(prefix): Known(value=value, source=f"{key} in {source}")
        for key, (value, source) in config.values.items()
        if prefix and key.startswith(prefix)
    }


class _Lookup:
    """Their fields: what is written, else the default of the version."""

    def __init__(self, config: TheirConfig, version: TableVersion | None):
        self.config, self.version = config, version

    def get(self, key: str) -> Known | Unknown:
        """A list's item is `name.0`."""
        config = self.config
        if key in config.conflicts:
            return Unknown(why=f"its files contradict each other: {config.conflicts[key]}")
        if key in config.values:
            value, source = config.values[key]
            return Known(value=value, source=f"in {source}")
        name, _, place = key.rpartition(".")
        if place.isdigit() and name:
            return self._item(name, int(place))
        return self._default(key)

    def _item(self, name: str, place: int) -> Known | Unknown:
        whole = self.get(name)
        if isinstance(whole, Unknown):
            return whole
        if not isinstance(whole.value, list) or place >= len(whole.value):
            return Unknown(why=f"{name} holds no item {place}")
        return Known(value=whole.value[place], source=whole.source, assumed=whole.assumed)

    def _default(self, key: str) -> Known | Unknown:
        config, title = self.config, self.config.table.title
        absent = Unknown(why=f"{key} is not in its config")
        if not config.complete:
            return absent
        if config.table.trainers and not config.trainer:
            return Unknown(why=f"{key} is not in its config, and which trainer's default counts is not known")
        if self.version is None:
            left = f"{key} has its default, and {_no_version(config)}"
            return Unknown(why=left) if config.table.has_default(key) else absent
        value = config.table.default(key, config.trainer, self.version.table)
        if value is MISSING:
            return absent
        assumed = "" if self.version.exact else f", assumed for {self.version.given}"
        source = f"(default of {title} {self.version.table}{assumed})"
        return Known(value=value, source=source, assumed=not self.version.exact)


def _field(rules: Iterable[FieldRule], lookup: _Lookup) -> Known | Unknown | None:
    """By the first rule that applies; None where none does; unknown where nothing says."""
    missing: Unknown | None = None
    for rule in rules:
        if rule.trainers and lookup.config.trainer not in rule.trainers:
            continue
        holds = _holds(rule, lookup)
        if isinstance(holds, Unknown):
            return holds
        if not holds:
            continue
        value = _value(rule, lookup)
        if isinstance(value, Known):
            return value
        missing = missing or value
    return missing


def _holds(rule: FieldRule, lookup: _Lookup) -> bool | Unknown:
    """False as soon as one condition is known not to hold."""
    unknown: Unknown | None = None
    for conditions, wanted in ((rule.when, True), (rule.unless, False)):
        for key, allowed in conditions.items():
            found = lookup.get(key)
            if isinstance(found, Unknown):
                unknown = unknown or found
            elif _is_among(found.value, allowed) is not wanted:
                return False
    return unknown or True


def _is_among(value: Any, allowed: Any) -> bool:
    values = allowed if isinstance(allowed, list) else [allowed]
    return any(same(value, plain(one)) for one in values)


def _value(rule: FieldRule, lookup: _Lookup) -> Known | Unknown:
    """Of inputs that are all known, with the conditions among what it rests on."""
    inputs = {key: lookup.get(key) for key in (*rule.of, *rule.over)}
    unknown = next((one for one in inputs.values() if isinstance(one, Unknown)), None)
    if unknown:
        return unknown
    known = {key: one for key, one in inputs.items() if isinstance(one, Known)}
    conditions = {key: lookup.get(key) for key in sorted(rule.conditions)}
    rests_on = known | {key: one for key, one in conditions.items() if isinstance(one, Known)}
    try:
        value = _made(rule, known, lookup)
    except (ValueError, ZeroDivisionError) as error:
        return Unknown(why=f"{_formula(rule)}: {error}")
    source = _source(rule, known or rests_on)
    return Known(value=value, source=source, assumed=any(one.assumed for one in rests_on.values()))


def _made(rule: FieldRule, known: Mapping[str, Known], lookup: _Lookup) -> Any:
    """What the program does in any case, a text, or a conversion. Raises ValueError for what cannot be converted."""
    if rule.value is not MISSING:
        return rule.value
    if rule.say:
        return _said(rule.say, lookup)
    made = CONVERSIONS[rule.by]([known[key].value for key in rule.of], [known[key].value for key in rule.over])
    return plain(rule.names.get(shown(made).lower(), made))


def _said(text: str, lookup: _Lookup) -> str:
    """With the values of the fields that it names in braces."""

    def value(match: re.Match[str]) -> str:
        found = lookup.get(match[1])
        return shown(found.value) if isinstance(found, Known) else "?"

    return NAMED.sub(value, text)


def _source(rule: FieldRule, inputs: Mapping[str, Known]) -> str:
    """`a / b in FILE`; what the program does in any case stands in its code."""
    by_place: dict[str, list[str]] = {}
    for key, one in inputs.items():
        by_place.setdefault(one.source, []).append(key)
    if not by_place:
        return rule.source
    if rule.by == "same":
        return "; ".join(f"{', '.join(keys)} {place}" for place, keys in by_place.items())
    if len(by_place) == 1:
        return f"{_formula(rule)} {next(iter(by_place))}"
    return f"{_formula(rule)}: " + "; ".join(f"{', '.join(keys)} {place}" for place, keys in by_place.items())


def _formula(rule: FieldRule) -> str:
    """`a x b / (c x d)`."""
    below = " x ".join(rule.over)
    return " x ".join(rule.of) + (f" / ({below})" if len(rule.over) > 1 else f" / {below}" if below else "")


def _version_in_words(config: TheirConfig, version: TableVersion | None) -> str:
    title = config.table.title
    if not config.version:
        return f"{title}, version not known"
    if version is None:
        return f"{title} {config.version}, whose defaults are not known"
    exact = f"{title} {config.version}"
    return exact if version.exact else f"{exact}, with the defaults of {version.table}, the nearest known below it"


def _no_version(config: TheirConfig) -> str:
    title, known = config.table.title, config.table.versions
    if config.version:
        return f"the defaults of {title} {config.version} are not known (known: {known[0]} to {known[-1]})"
    return f"the version of {title} is not known: type version={known[-1]}"


def _unmapped(config: TheirConfig) -> Iterable[str]:
    """Names of theirs that no rule looks at. A rule's list is looked at by its items."""
    table: ProgramTable = config.table
    looked_at = table.keys | {key.rpartition(".")[0] for key in table.keys if key.rpartition(".")[2].isdigit()}
    for key in config.values:
        ours = bool(table.prefix) and key.startswith(table.prefix)
        if key not in looked_at and not ours and not table.decides_nothing(key):
            yield key


def _conflicts(config: TheirConfig) -> Iterable[str]:
    for key, words in config.conflicts.items():
        if key in config.table.keys:
            yield f"two configs contradict each other on {key}: {words}. It counts as not known; config=FILE picks one."
