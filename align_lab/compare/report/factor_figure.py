"""The figure of a study of factors: the mean of every level with its interval, choice by choice, on one scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from align_lab.compare.document import Document, Factorial, Level, Source
from align_lab.compare.report import words
from align_lab.compare.report.answer import Scale, scale


@dataclass(frozen=True)
class Mean:
    """A level: its mean and interval in percent of the width, its effect in words. outcome: better where it is shown to
    differ from the first level, open otherwise.
    """

    level: str
    runs: int
    mean: float | None
    interval: tuple[float, float] | None
    text: str
    words: str
    outcome: str


@dataclass(frozen=True)
class Choice:
    """A factor with its levels, and what is said of it: its share of the variance, the verdict, and p."""

    name: str
    share: str
    words: str
    p: str
    outcome: str
    means: tuple[Mean, ...]


@dataclass(frozen=True)
class Levels:
    """The figure."""

    label: str
    scale: Scale
    choices: tuple[Choice, ...]


def levels(document: Document) -> Levels | None:
    """Every level of every factor; None where the study has no factors."""
    factorial = document["factors"]
    if factorial is None:
        return None
    every = factorial["levels"]
    axis = scale([value for one in every for value in (one["mean"], one["low"], one["high"])])
    places = words.digits(one["mean"] for one in every)
    return Levels(
        label=words.with_unit(document, document["metric"]),
        scale=axis,
        choices=tuple(_choices(factorial, axis, places)),
    )


def _choices(factorial: Factorial, axis: Scale, places: int) -> Iterator[Choice]:
    for one in factorial["sources"]:
        if one["kind"] == "factor":
            own = [level for level in factorial["levels"] if level["factor"] == one["source"]]
            means = tuple(_mean(level, axis, places) for level in own)
            yield _choice(one, means)


def _choice(one: Source, means: tuple[Mean, ...]) -> Choice:
    p = words.probability(one["p"])
    return Choice(
        name=one["source"],
        share=f"{words.number(one['share'], 2)} of the variance",
        words=one["words"],
        p="" if one["p"] is None else f"p {p if p.startswith('<') else f'= {p}'}",
        outcome="better" if one["words"] == "matters" else "open",
        means=means,
    )


def _mean(one: Level, axis: Scale, places: int) -> Mean:
    shown = " > " in one["words"]
    return Mean(
        level=one["level"],
        runs=one["runs"],
        mean=None if one["mean"] is None else axis.at(one["mean"]),
        interval=axis.between(one["low"], one["high"]),
        text=words.number(one["mean"], places),
        words=_effect(one, places),
        outcome="better" if shown else "open",
    )


def _effect(one: Level, places: int) -> str:
    """`+0.12 (0.03 to 0.21)`; nothing for the first level."""
    effect = one["effect"]
    if effect is None:
        return ""
    sign = "" if effect < 0 else "+"
    bounds = words.between(one["effect_low"], one["effect_high"], places)
    between = f" ({bounds})" if bounds != words.NOTHING else ""
    return f"{sign}{words.number(effect, places)}{between}"
