"""What a comparison says of the course of the runs: curves, axes, over-optimization, health, instruments."""

from __future__ import annotations

from typing import TypedDict


class Place(TypedDict):
    """An evaluation of a run, with its place on every axis."""

    arm: str
    seed: int
    run: str
    step: int | None
    episode: int | None
    tokens: int | None
    labels: int | None
    seconds: float | None
    flops: float | None
    kl: float | None


class Point(Place):
    """A metric at one evaluation of a run."""

    metric: str
    value: float


class Band(TypedDict):
    """Mean and t interval of an arm's n runs at one place of an axis."""

    metric: str
    axis: str
    arm: str
    x: float
    mean: float
    low: float | None
    high: float | None
    n: int


class Ranked(TypedDict):
    """An arm at equal cost."""

    arm: str
    mean: float
    low: float | None
    high: float | None
    n: int


class Flip(TypedDict):
    """Two arms that change places. shown: by more than the seeds vary."""

    ahead: str
    behind: str
    shown: bool


class Axis(TypedDict):
    """The comparison at the largest value of an axis that every run reaches; at: None where there is none."""

    axis: str
    at: float | None
    unit: str
    ranking: list[Ranked]
    flips: list[Flip]
    words: str


class Frontier(TypedDict):
    """What a run scored at which KL. score: what is optimized; decides: the metric that decides."""

    arm: str
    seed: int
    step: int | None
    kl: float | None
    score: float | None
    decides: float | None


class Overoptimization(TypedDict):
    """Where the deciding metric of a run peaks, whether the optimized score rose beyond it, and which step to keep.

    checkpoint: is a checkpoint of that step left?
    """

    arm: str
    seed: int
    run: str
    peak_step: int | None
    peak: float
    last: float
    peak_distance: float | None
    last_distance: float | None
    score_rose: bool
    marked: bool
    keep: int | None
    checkpoint: bool | None
    words: str


class Health(TypedDict):
    """Length, entropy and diversity of an arm's text, before training and after."""

    arm: str
    length_start: float | None
    length: float | None
    entropy_start: float | None
    entropy: float | None
    distinct_2_start: float | None
    distinct_2: float | None
    words: str


class Finding(TypedDict):
    """What the instrument audit found on an arm.

    kind: disagreement (value: the change of a score that fell while others rose), unread, abstained, failed (shares of
    the completions at the end) or order_bias. low and high: 95 % t interval over seeds.
    """

    arm: str
    kind: str
    metric: str
    value: float
    low: float | None
    high: float | None
    words: str
