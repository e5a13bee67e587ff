"""The seeds of a study, as its file declares them: a list, or steps with the gap that matters, and what they move."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from hydra.core.override_parser.types import Override

from align_lab.base import vary
from align_lab.base.errors import ConfigError, short
from align_lab.base.seed_plan import WORDS, SeedPlan, seed_plan
from align_lab.config import overrides
from align_lab.config.root import StudySettings


def varied(seeds: Any) -> tuple[Sequence[str], Any]:
    """`seeds` may say what they move, `{first: 4, vary: [rl, pairs]}`: the list, and `seeds` without it.

    Raises ConfigError with what is allowed.
    """
    if not isinstance(seeds, Mapping) or "vary" not in seeds:
        return (), cast(Any, seeds)
    given = cast("Mapping[str, Any]", seeds)
    names = given["vary"]
    if not isinstance(names, list):
        raise ConfigError(f"seeds.vary={names}: it must be a list of {', '.join(vary.WHAT)}")
    if wrong := vary.problems(cast("list[Any]", names)):
        raise ConfigError(f"seeds.{wrong[0]}")
    return vary.ordered(cast("list[str]", names)), {name: each for name, each in given.items() if name != "vary"}


def smallest(settings: StudySettings, seeds: Any) -> tuple[StudySettings, Any]:
    """The gap that matters stands in one place: beside `seeds`, or among their steps. Raises ConfigError for two, and
    where seeds in steps have none: pairs would end by a gap that nobody has declared."""
    if not isinstance(seeds, Mapping):
        return settings, seeds
    steps = cast("Mapping[str, Any]", seeds)
    inside, beside = steps.get("smallest"), settings.smallest
    if inside is None and beside is None:
        raise ConfigError(
            "seeds in steps need the gap that matters: a pair that differs by less ends as equal. Type "
            "seeds.smallest=0.1, in units of the metric that decides"
        )
    if inside is None:
        return settings, {**steps, "smallest": beside}
    if beside not in (None, inside):
        raise ConfigError(f"smallest={beside:g}, and seeds.smallest={inside}: leave one of the two out")
    number = isinstance(inside, int | float) and not isinstance(inside, bool)
    return dataclasses.replace(settings, smallest=float(inside)) if number else settings, steps


def override(varied: Sequence[str], beside: Sequence[str], parsed: Sequence[Override]) -> list[Override]:
    """The override of every run for what `seeds` says that they move; the command line wins.

    Raises ConfigError where the sweep file has another list `beside` it.
    """
    if not varied or has(parsed, "vary"):
        return []
    if beside not in (vary.USUAL, varied):
        listed = (f"[{', '.join(names)}]" for names in (varied, beside))
        raise ConfigError("seeds.vary is {}, and beside it vary is {}: leave one of the two out".format(*listed))
    return overrides.parse([f"vary=[{','.join(varied)}]"])


def refuse_two(parsed: Sequence[Override]) -> None:
    """Raises ConfigError where the command line says twice which seeds the runs have."""
    given = {key: str(one.input_line) for one in parsed for key in ("seed", "seeds") if one.key_or_group == key}
    if len(given) == 2:
        raise ConfigError(
            f"{given['seeds']} and {given['seed']}: both say which seeds the runs have. Leave one of the two out"
        )


def has(parsed: Sequence[Override], key: str) -> bool:
    """Is the key among the overrides?"""
    return any(one.key_or_group == key for one in parsed)


def numbers(value: Any) -> tuple[SeedPlan | None, Sequence[int]]:
    """The plan, where seeds come in steps, and all seeds of an arm. Raises ConfigError with what is allowed."""
    if isinstance(value, Mapping):
        plan = seed_plan(cast(Mapping[str, Any], value))
        return plan, range(plan.most)
    seeds = cast(list[Any], [] if value is None else value if isinstance(value, list) else [value])
    if (value is not None and not seeds) or any(isinstance(seed, bool) or not isinstance(seed, int) for seed in seeds):
        raise ConfigError(f"seeds={short(str(cast(Any, value)))}: it must be {WORDS}")
    if isinstance(value, int):
        raise ConfigError(
            f"seeds={value}: the seed {value} alone, or {value} seeds? Type seeds=[{value}], or seeds=[0,1,2]"
        )
    if len({*seeds}) < len(seeds):
        raise ConfigError(f"seeds={short(str(seeds))}: a seed is named twice. Type each once")
    return None, seeds
