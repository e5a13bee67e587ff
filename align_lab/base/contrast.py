"""The pairs of arms that a study asks for, as its file declares them before it runs: `contrasts: [[dr_grpo, grpo]]`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, cast

from align_lab.base.errors import ConfigError, near, short

Contrast = tuple[str, str]
WORDS = "pairs of arms, for example [[dr_grpo, grpo], [rloo, ppo]]"


def read(value: Any) -> tuple[Contrast, ...]:
    """The pairs of a study file; none for null. Raises ConfigError for what is no list of pairs."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ConfigError(f"contrasts={short(str(value))}: it must be {WORDS}")
    pairs = [_pair(one) for one in cast("list[Any]", value)]
    for place, pair in enumerate(pairs):
        if set(pair) in map(set, pairs[:place]):
            raise ConfigError(f"contrasts: {_shown(pair)} is there twice. Leave one out: each pair is decided once")
    return tuple(pairs)


def _pair(value: Any) -> Contrast:
    names = cast("list[Any]", value) if isinstance(value, list) else []
    if len(names) != 2 or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"contrasts: {short(str(cast(Any, value)))} is not a pair of arms. Write {WORDS}")
    if names[0] == names[1]:
        raise ConfigError(f"contrasts: {_shown(names)} compares an arm with itself. Name two arms")
    return names[0], names[1]


def check(pairs: Sequence[Contrast], arms: Collection[str]) -> None:
    """Raises ConfigError for an arm that the study does not have."""
    for pair in pairs:
        for name in pair:
            if name not in arms:
                raise ConfigError(
                    f"contrasts: {_shown(pair)} names the arm {name!r}, which is not there: {near(name, arms)}"
                )


def _shown(pair: Sequence[str]) -> str:
    return f"[{', '.join(pair)}]"
