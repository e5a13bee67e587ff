"""The comparison document: everything that a comparison says, as plain JSON. Its keys are declared here and nowhere
else.

Terminal, page, tables, figures, lock and dashboards only show what stands in it. Numbers that do not exist are None,
never nan.
"""

from __future__ import annotations

from typing import Any, TypedDict

from align_lab.record.evaluations import Measured

VERSION = 3
SCORE = "eval/score"  # the reward that is optimized, in every evaluation; it decides where a run names no other metric


class Label(TypedDict):
    """How a metric is called. better: higher, lower or neither."""

    label: str
    meaning: str
    unit: str
    better: str


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

    needed: further seeds an arm; None where the seeds suffice.
    """

    a: str
    b: str
    gap: float
    low: float | None
    high: float | None
    p: float | None
    words: str
    needed: int | None


class Verdict(TypedDict):
    """The answer in one sentence, and every pair of arms that it rests on."""

    sentence: str
    method: str
    confidence: float
    pairs: list[Pair]


class Claimed(TypedDict):
    """What a paper says of two arms, and what is found: mean of a minus mean of b, corrected for all claims.

    outcome: held, did not hold, cannot be told.
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


class Rate(TypedDict):
    """A share with its interval."""

    rate: float
    low: float | None
    high: float | None


class Wins(TypedDict):
    """Row against column, over the prompts that all have answered; None on the diagonal and where nothing pairs."""

    arms: list[str]
    matrix: list[list[Rate | None]]
    prompts: int


class Completion(TypedDict):
    """What a run answered, with the score that is optimized and the one that decides."""

    arm: str
    seed: int
    completion: str
    decides: float | None
    score: float | None
    ended: bool | None


class Sample(TypedDict):
    """One prompt with a completion of each arm."""

    index: int
    prompt: str
    completions: list[Completion]


class LeftOut(TypedDict):
    """A run that does not count, with the reason.

    state: failed, diverged, unscored, running, stopped, unreadable or duplicate; used: of a duplicate, the run that
    counts.
    """

    name: str
    why: str
    state: str
    arm: str
    seed: int | None
    used: str


class Missing(TypedDict):
    """Seeds of which an arm has no finished run."""

    arm: str
    seeds: list[int]


class ForeignArm(Spread):
    """An arm under the score that all runs have. proven: ours, compared among each other; beside: mean at the end."""

    name: str
    source: str
    proven: bool
    n: int
    seeds: list[int]
    runs: list[str]
    start: float | None
    beside: dict[str, float | None]


class ForeignColumn(TypedDict):
    """Which column of a program was taken for which metric."""

    source: str
    metric: str
    column: str


class ForeignPoint(TypedDict):
    """A value that another program logged."""

    metric: str
    arm: str
    seed: int
    run: str
    step: float
    value: float | None


class ForeignField(TypedDict):
    """A field of ours and its value in another program's config.

    state: equal, differs or not known; source: where their value comes from, or why it is not known; assumed: it is the
    default of another version.
    """

    field: str
    role: str
    state: str
    ours: str
    theirs: str
    source: str
    assumed: bool


class ForeignSettings(TypedDict):
    """What the config of an arm of another program says, against the arm that it is most alike.

    unmapped: names of its config that no table knows; files: the configs that were read.
    """

    arm: str
    against: str
    version: str
    sentence: str
    equal: int
    differs: int
    unknown: int
    assumed: int
    fields: list[ForeignField]
    unmapped: list[str]
    files: list[str]
    notes: list[str]


class Foreign(TypedDict):
    """Runs of other programs beside ours, with a verdict of their own.

    smallest: the gap worth seeing; settings: of each of their arms whose config was read.
    """

    mark: str
    metric: str
    settings: list[ForeignSettings]
    arms: list[ForeignArm]
    sentence: str
    method: str
    confidence: float
    smallest: float
    pairs: list[Pair]
    columns: list[ForeignColumn]
    curves: list[ForeignPoint]
    left_out: list[LeftOut]
    notes: list[str]


class Evaluated(Measured):
    """A metric of an evaluation that was made after training (`align_lab evaluate`)."""

    arm: str
    seed: int
    run: str
    name: str
    step: int
    metric: str


class Document(TypedDict):
    """metric: the one that decides; metrics: how each is called; arms: the best first; links: run -> its folder."""

    version: int
    study: str
    question: str
    written: str
    metric: str
    metrics: dict[str, Label]
    verdict: Verdict
    claims: list[Claimed]
    comparability: Comparability
    arms: list[Arm]
    iqm_coverage: dict[str, float]
    improvement: list[Improvement]
    curves: list[Point]
    bands: list[Band]
    axes: list[Axis]
    frontier: list[Frontier]
    overoptimization: list[Overoptimization]
    health: list[Health]
    audit: list[Finding]
    wins: Wins
    samples: list[Sample]
    evaluations: list[Evaluated]
    unfinished: list[LeftOut]
    missing: list[Missing]
    links: dict[str, str]
    notes: list[str]
    foreign: Foreign | None
