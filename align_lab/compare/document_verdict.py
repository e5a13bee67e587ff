"""What a comparison says of the arms: their metrics, the verdict, and the proof that they are comparable."""

from __future__ import annotations

from typing import Any, TypedDict


class Label(TypedDict):
    """How a metric is called. better: higher, lower or neither. judge: how good what gives it is, if known.

    again: how a score comes out for a completion that is scored again: `same`, `varies`, or empty: it is not known.
    """

    label: str
    meaning: str
    unit: str
    better: str
    judge: str
    again: str


class Spread(TypedDict):
    """Values over seeds with mean, sd, 95 % t interval and interquartile mean."""

    values: list[float | None]
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    iqm: float | None
    iqm_low: float | None
    iqm_high: float | None


class Summary(Spread):
    """A metric of an arm: at the end, and in the mean before training."""

    start: float | None


class Arm(TypedDict):
    """Runs of one recipe: `seeds`, `runs` and each metric's `values` are in the same order."""

    name: str
    algo: str
    n: int
    seeds: list[int]
    runs: list[str]
    metrics: dict[str, Summary]


class Pair(TypedDict):
    """Arm a against arm b: mean of a minus mean of b, corrected interval and p, and what follows in words.

    correlation: of their scores over the seeds that both have; None where they are few or do not vary. needed:
    further seeds an arm; None where the seeds suffice.
    """

    a: str
    b: str
    gap: float
    low: float | None
    high: float | None
    p: float | None
    correlation: float | None
    words: str
    needed: int | None


class Shares(TypedDict):
    """Parts of the variance of a gap: they add up to 1 with seeds, prompts and answers.

    answers: of one prompt in one run, which more seeds and more prompts average out; of it samples: due to sampling;
    judge: due to what a judge would say another time. None where a part is not known, see `Precision.unknown`.
    """

    seeds: float | None
    prompts: float | None
    answers: float | None
    samples: float | None
    judge: float | None


class Bought(TypedDict):
    """Further seeds an arm, prompts and samples a prompt in all, their device-seconds, and the half-width that is left
    of the interval over seeds and prompts.
    """

    seeds: int
    prompts: int
    samples: int
    seconds: float
    half: float


class Precision(TypedDict):
    """What a pair's gap rests on: its interval over seeds and prompts, its variance in parts, and what to buy next.

    unknown: part of the variance -> why it is not known. anew: a study of its own is bought, with all of its seeds.

    seed_seconds: device-seconds of one further seed of both arms, None where runs do not record them. cheapest,
    seeds_alone: None without them, and where nothing that was thought of shows a gap worth seeing.
    """

    a: str
    b: str
    low: float | None
    high: float | None
    prompts: int
    samples: int
    shares: Shares
    unknown: dict[str, str]
    anew: bool
    seed_seconds: float | None
    cheapest: Bought | None
    seeds_alone: Bought | None


class Verdict(TypedDict):
    """The answer in one sentence, and every pair of arms that it rests on.

    smallest: the gap that matters, None where none was declared: then nothing is called equal; paired: are arms
    compared seed by seed? contrasts: the pairs that were declared to be the only questions. warnings: sentences on
    scores for which the intervals do not hold.
    """

    sentence: str
    method: str
    confidence: float
    smallest: float | None
    paired: bool
    contrasts: list[list[str]]
    warnings: list[str]
    pairs: list[Pair]


class Equal(TypedDict):
    """A setting or hash that all runs share."""

    field: str
    value: str


class Differing(TypedDict):
    """A setting or hash that is not equal in all runs. values: value as text -> names of the runs that have it."""

    field: str
    values: dict[str, list[str]]
    allowed: bool


class ByArm(TypedDict):
    """A field that differs between arms by design. values: arm -> value."""

    field: str
    values: dict[str, Any]


class Charged(TypedDict):
    """What a run of this arm has spent, in the mean."""

    arm: str
    episodes: float | None
    tokens: float | None
    labels: float | None
    device_seconds: float | None
    flops: float | None
    peak_memory_gib: float | None


class Comparability(TypedDict):
    """The proof: over every run that was read, also those that are set aside because another has their arm and seed."""

    fair: bool
    equal: list[Equal]
    differing: list[Differing]
    recipes: list[ByArm]
    budgets: list[ByArm]
    charged: list[Charged]


class Improvement(TypedDict):
    """P(a run of a scores higher than a run of b), with its interval."""

    a: str
    b: str
    value: float
    low: float | None
    high: float | None


class Claimed(TypedDict):
    """What a paper says of two arms, and what is found: mean of a minus mean of b, corrected for all claims.

    outcome: held, did not hold, inconclusive.
    """

    claim: str
    a: str
    b: str
    metric: str
    gap: float | None
    low: float | None
    high: float | None
    outcome: str
    why: str
