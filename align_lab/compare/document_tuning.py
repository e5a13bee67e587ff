"""What a comparison says of the tuning before it."""

from __future__ import annotations

from typing import Any, TypedDict


class Expected(TypedDict):
    """The score that is expected of the best of this many trials, with its 95 % interval."""

    trials: int
    mean: float
    low: float | None
    high: float | None


class Sensitivity(TypedDict):
    """The share of the variance of an arm's trials that a quadratic in one field explains, adjusted for its terms."""

    field: str
    share: float


class TunedArm(TypedDict):
    """The tuning of one arm.

    tuned: mean of the chosen trial; fresh: mean of its recipe with the study's seeds, on the same prompts; optimism:
    tuned minus fresh, with its Welch interval.
    """

    arm: str
    trials: int
    diverged: int
    recipe: dict[str, Any]
    tuned: float
    fresh: float | None
    optimism: float | None
    low: float | None
    high: float | None
    episodes: float
    device_seconds: float
    flops: float
    expected: list[Expected]
    sensitivity: list[Sensitivity]


class Flip(TypedDict):
    """Two arms whose order depends on the number of trials: `a` is ahead at some of them, and `b` at others.

    change: between the largest and the smallest of their gaps; clear: their intervals are apart in both orders.
    """

    a: str
    b: str
    a_ahead: list[int]
    b_ahead: list[int]
    change: float
    clear: bool


class TuningDocument(TypedDict):
    """The tuning of all arms. leaders: number of trials -> the arm with the highest expected score; flips: the pairs of
    arms that change places with it; sentence: what the first sentence of the comparison says of both.
    """

    trials: int
    seeds: list[int]
    metric: str
    method: str
    arms: list[TunedArm]
    leaders: dict[str, str]
    flips: list[Flip]
    sentence: str
