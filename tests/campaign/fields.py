"""Overrides of one run: every field of every option of every group, with values that are wrong or odd."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from align_lab.base import registry, run_config
from align_lab.config import composition
from align_lab.config.groups import GROUPS, options
from align_lab.config.root import RunSettings
from tests.campaign import values
from tests.campaign.running import Case

KIND = "a field"
SINGLES = ("algo", "model", "reward", "hardware", "data", "train", "record")


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a run with its default and, where it is declared with them, its rules."""

    choice: tuple[str, ...]  # the option that has it
    key: str
    default: Any
    rules: Mapping[str, Any]
    declared: bool = True  # else it is inside a mapping that is free of form


@cache
def fields() -> tuple[Field, ...]:
    """All of them. Call `composition.load_components` first."""
    composer, found = composition.Composer(), dict[tuple[str, ...], Field]()
    for group in GROUPS:
        for option in options(group):
            choice = (f"{group}={option}",)
            section = composer.values(choice)
            declared = _rules(registry.lookup(group, section[group]["name"]), f"{group}.")
            for key, default in run_config.leaves({group: section[group]}):
                found.setdefault(
                    (section[group]["name"], key), Field(choice, key, default, declared.get(key, {}), key in declared)
                )
    root = composer.values([])
    declared = _rules(RunSettings, "")
    for key, default in run_config.leaves({name: root[name] for name in RunSettings.__dataclass_fields__}):
        found[("", key)] = Field((), key, default, declared.get(key, {}))
    return tuple(found.values())


def _rules(cls: type, prefix: str) -> dict[str, Mapping[str, Any]]:
    rules: dict[str, Mapping[str, Any]] = {}
    for spec in dataclasses.fields(cls):
        inner = spec.default_factory
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            rules |= _rules(inner, f"{prefix}{spec.name}.")
        else:
            rules[f"{prefix}{spec.name}"] = spec.metadata
    return rules


def cases() -> Iterator[Case]:
    """Every field with every value of its type, and with values beyond its bounds."""
    for one in fields():
        if one.key.endswith(".name") or one.key.count(".judges."):
            continue
        for value in (*values.of(one.default), *_beyond(one)):
            meaningless = value.meaningless
            if value.what in ("inf", "1e400, which is inf") and isinstance(one.default, float):
                meaningless = not one.rules.get("infinite")
            yield Case(
                kind=KIND,
                what=f"{value.what}: {one.key}",
                words=(*one.choice, f"{one.key}={value.text}"),
                compose=True,
                meaningless=meaningless,
                names=(one.key.rpartition(".")[2] if one.declared else one.key.split(".")[1]) if meaningless else "",
            )


def _beyond(one: Field) -> Iterator[values.Value]:
    for rule, by in (("low", -1), ("above", 0), ("high", 1)):
        bound = one.rules.get(rule)
        if isinstance(bound, int | float) and bound == bound and abs(bound) != float("inf"):
            beyond = bound + by
            text = str(int(beyond)) if isinstance(one.default, int) else repr(beyond)
            yield values.Value(text=text, what=f"beyond {rule}")
    if one.rules.get("choices"):
        yield values.Value(text="no_such_choice", what="no choice")
    if one.rules.get("pattern"):
        yield values.Value(text='"a b;c"', what="no plain name")


def several(rng: random.Random, count: int) -> Iterator[Case]:
    """Two to four wrong or odd fields at once, with letters of the keys changed now and then."""
    pool = fields()
    for _ in range(count):
        words: list[str] = []
        first = rng.choice(pool)
        words += first.choice
        for one in [first, *rng.choices([f for f in pool if f.choice in ((), first.choice)], k=rng.randint(1, 3))]:
            value = rng.choice(list(values.of(one.default)))
            key = one.key if rng.random() < 0.8 else misspelled(rng, one.key)
            sign = rng.choice(["", "", "", "", "+", "++", "~"])
            words.append(f"{sign}{key}={value.text}")
        yield Case(kind="several fields", what=" ".join(words)[:200], words=tuple(words), compose=True)


def misspelled(rng: random.Random, word: str) -> str:
    """One letter is doubled, lost, or another."""
    at = rng.randrange(len(word))
    return rng.choice([word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:], word[:at] + "x" + word[at + 1 :]])
