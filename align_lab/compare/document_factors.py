"""What a comparison says of the factors of a study, whose combinations are its arms."""

from __future__ import annotations

from typing import TypedDict


class Level(TypedDict):
    """A level of a factor: its mean over all cells that have it, and its effect against the first level.

    mean: with its own 95 % interval; effect: with an interval and a p that are corrected for all effects of the study.
    None where the runs cannot give it, and for the effect of the first level. needed: further seeds of every cell.
    """

    factor: str
    level: str
    cells: int
    runs: int
    mean: float | None
    low: float | None
    high: float | None
    effect: float | None
    effect_low: float | None
    effect_high: float | None
    p: float | None
    words: str
    needed: int | None


class Source(TypedDict):
    """A part of the variance. kind: factor, interaction, cells (what is left between them) or seeds.

    share: of the variance of all runs, with its 95 % interval; p: of no effect at all, corrected for all tests.
    """

    source: str
    kind: str
    f: float | None
    freedom: float | None
    freedom_within: float | None
    p: float | None
    share: float | None
    share_low: float | None
    share_high: float | None
    words: str


class Combination(TypedDict):
    """The mean of the cells with these levels of two factors whose interaction can be told."""

    factor: str
    level: str
    other: str
    other_level: str
    runs: int
    mean: float
    low: float | None
    high: float | None


class Factorial(TypedDict):
    """design: which combinations were planned, in words; cells: used of the planned ones; aliases: what is mixed."""

    design: str
    cells: int
    planned: int
    method: str
    sources: list[Source]
    levels: list[Level]
    combinations: list[Combination]
    aliases: list[str]
