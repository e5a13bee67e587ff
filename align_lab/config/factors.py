"""The factors of a study, whose combinations are its arms.

factors:
  algo.kl: [none, k2_loss, k3_loss]        # a field and its values; the factor is called kl
  samples: {few: [train.group_size=2, train.prompts_per_step=32], many: [train.group_size=8]}  # levels with names
design: fraction  # of all combinations, those that main effects need; interactions: those of two factors as well
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from hydra.core.override_parser.types import Override

from align_lab.base import design
from align_lab.base.design import Design
from align_lab.base.errors import ConfigError, short
from align_lab.config import overrides
from align_lab.config.root import StudySettings
from align_lab.config.study_file import ARM, ARM_WORDS, written

WORDS = (
    "two factors or more with their levels, for example {algo.kl: [none, k2_loss], algo.baseline: [none, group_mean]}"
)
STRENGTHS = {"fraction": 2, "interactions": 4}
BETWEEN = " + "  # the levels in the name of a cell
Levels = dict[str, list[str]]  # level -> its overrides


def planned(settings: StudySettings, typed: Iterable[Override]) -> tuple[StudySettings, Design | None]:
    """The settings with the cells of the design as arms, and the design; unchanged where there are no factors.

    `typed`: what is set for every run. Raises ConfigError for factors that make no design, with what to type.
    """
    if settings.factors is None:
        if settings.design != "full":
            raise ConfigError(f"design={settings.design} is a choice among the combinations of factors. Add {WORDS}")
        return settings, None
    _refuse_beside(settings)
    factors = read(settings.factors)
    _refuse_shared_fields(factors, {one.key_or_group for one in typed})
    cells = {BETWEEN.join(levels): levels for levels in _cells(factors, settings.design)}
    arms = {name: _overrides(factors, levels) for name, levels in cells.items()}
    plan = Design(levels={name: tuple(levels) for name, levels in factors.items()}, cells=cells)
    return dataclasses.replace(settings, arms=arms), plan


def _overrides(factors: Mapping[str, Levels], cell: Sequence[str]) -> list[str]:
    parts = (levels[level] for levels, level in zip(factors.values(), cell, strict=True))
    return list(itertools.chain.from_iterable(parts))


def _cells(factors: Mapping[str, Levels], kind: str) -> list[tuple[str, ...]]:
    """The levels of each cell. Raises ConfigError for too many, and for a fraction that would be no smaller."""
    counts = [len(levels) for levels in factors.values()]
    every = f"all {math.prod(counts):,} combinations"
    most = f"a study has at most {design.MOST_CELLS} cells"
    if kind == "full" and math.prod(counts) > design.MOST_CELLS:
        raise ConfigError(f"factors: {every} are too many: {most}. {_instead(counts, kind)}")
    cells = design.full(counts) if kind == "full" else design.fraction(counts, strength=STRENGTHS[kind])
    if cells is None:
        raise ConfigError(f"design={kind}: none is smaller than {every}, and {most}. {_instead(counts, kind)}")
    lists = [list(levels) for levels in factors.values()]
    return [tuple(levels[place] for levels, place in zip(lists, cell, strict=True)) for cell in cells]


def _instead(counts: Sequence[int], kind: str) -> str:
    """What to type in place of a design that cannot be."""
    if kind != "fraction" and (cells := design.fraction(counts)):
        return f"Type design=fraction, which has {len(cells)} cells, or leave levels out"
    return "Type design=full" if math.prod(counts) <= design.MOST_CELLS else "Leave factors or levels out"


def read(value: Any) -> dict[str, Levels]:
    """Factor -> level -> overrides. Raises ConfigError for another form."""
    given = _mapping(value)
    if len(given) < 2:
        instead = ". The levels of one factor are arms: write arms" if given else ""
        raise ConfigError(f"factors={short(str(value))}: it must be {WORDS}{instead}")
    factors: dict[str, Levels] = {}
    for key, levels in given.items():
        name = str(key).rpartition(".")[2] if isinstance(levels, list) else str(key)
        _check_name("factors", name)
        if name in factors:
            raise ConfigError(f"factors: two are called {name}. Give one a name: NAME: {{LEVEL: [{key}=...], ...}}")
        factors[name] = _levels(str(key), levels)
    return factors


def _levels(key: str, value: Any) -> Levels:
    """Those of `algo.kl: [none, k2_loss]`, or of `kl: {none: [algo.kl=none], ...}`. Raises ConfigError."""
    levels: Levels = {}
    for name, texts in _of_field(key, cast("list[Any]", value)) if isinstance(value, list) else _named(key, value):
        _check_name(f"factors.{key}", name)
        if same := next((other for other, each in levels.items() if other == name or each == texts), None):
            both = f"{same} is there twice" if same == name else f"{same} and {name} are the same"
            raise ConfigError(f"factors.{key}: {both}, and would be compared with itself. Leave one out")
        levels[name] = texts
    if len(levels) < 2:
        raise ConfigError(f"factors.{key} has one level, and nothing to compare it with. Add one, or leave {key} out")
    return levels


def _of_field(key: str, values: Sequence[Any]) -> Iterator[tuple[str, list[str]]]:
    for value in values:
        text = written(value)
        yield f"{value:g}" if isinstance(value, float) else text.strip("'"), [f"{key}={text}"]


def _named(key: str, value: Any) -> Iterator[tuple[str, list[str]]]:
    named = _mapping(value)
    if not named:
        raise ConfigError(f"factors.{key}={short(str(value))}: {_form(key)}")
    for name, texts in named.items():
        listed = cast("list[Any]", texts) if isinstance(texts, list) else [None]
        if not all(isinstance(text, str) for text in listed):
            raise ConfigError(f"factors.{key}.{name}={short(str(cast(Any, texts)))}: {_form(key)}")
        yield str(name), [str(text) for text in listed]


def _mapping(value: Any) -> Mapping[Any, Any]:
    return cast("Mapping[Any, Any]", value) if isinstance(value, Mapping) else {}


def _form(key: str) -> str:
    return f"write the values of a field, algo.kl: [none, k2_loss], or {key}: {{one: [algo=rloo], other: [algo=ppo]}}"


def _check_name(where: str, name: str) -> None:
    if not ARM.fullmatch(name) or BETWEEN in name:
        raise ConfigError(
            f"{where}: {short(name)!r} is no name: it is made of {ARM_WORDS}, without {BETWEEN!r}. Give it one: "
            "NAME: {LEVEL: [FIELD=VALUE], ...}"
        )


def _refuse_beside(settings: StudySettings) -> None:
    """Raises ConfigError for what asks about arms, where the question is about the levels of factors."""
    if settings.arms:
        raise ConfigError("factors and arms: the combinations of factors are the arms. Leave one of the two out")
    for key in ("control", "contrasts"):
        if getattr(settings, key):
            raise ConfigError(f"{key} asks about arms, and factors about their levels: leave one of the two out")
    if isinstance(settings.seeds, Mapping):
        raise ConfigError("factors need a fixed number of seeds: they are not decided in steps. Type seeds=[0,1,2,3,4]")


def _refuse_shared_fields(factors: Mapping[str, Levels], typed: set[str]) -> None:
    """Raises ConfigError for a field that two factors set, or that every run has set already."""
    owner: dict[str, str] = {}
    for factor, level, text in ((name, level, each) for name in factors for level, each in factors[name].items()):
        for one in overrides.parse(text):
            where, key = f"factors.{factor}.{level}", one.key_or_group
            if one.is_sweep_override():
                raise ConfigError(f"{where}: {one.input_line} holds several values. Write a level for each value")
            if key in typed:
                raise ConfigError(f"{key} is set for every run, and {factor} is to choose it: leave one of the two out")
            if owner.setdefault(key, factor) != factor:
                raise ConfigError(
                    f"{where} sets {key}, as {owner[key]} does: they could not be told apart. Leave it to one of them"
                )
