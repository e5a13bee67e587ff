"""What a comparison says of single runs and their texts: wins, samples, later evaluations, runs of other programs."""

from __future__ import annotations

from typing import TypedDict

from align_lab.compare.document_verdict import Pair, Spread
from align_lab.record.evaluations import Measured


class Rate(TypedDict):
    """A share with its interval."""

    rate: float
    low: float | None
    high: float | None


class Wins(TypedDict):
    """Row against column, over the prompts that all have answered; None on the diagonal and where nothing pairs.

    seeds: of an arm, of which completions were read: the first ones, at most.
    """

    arms: list[str]
    matrix: list[list[Rate | None]]
    prompts: int
    seeds: int


class Completion(TypedDict):
    """What a run answered, with the score that is optimized and the one that decides."""

    arm: str
    seed: int
    completion: str
    decides: float | None
    score: float | None
    ended: bool | None


class Sample(TypedDict):
    """One prompt with a completion of each arm. start: what the start policy wrote; None where no run has kept it.

    start_decides, start_score: what the two scores of it are, as those of a completion.
    """

    index: int
    prompt: str
    start: str | None
    start_decides: float | None
    start_score: float | None
    completions: list[Completion]


class LeftOut(TypedDict):
    """A run that does not count, with the reason.

    state: failed, diverged, unscored, running, stopped, unreadable, altered or duplicate; used: of a duplicate, the run
    that counts.
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

    smallest: the gap that matters, None where none was declared; rewards: arm -> what its reward is called, where that
    is known; settings: of each of their arms whose config was read.
    """

    mark: str
    metric: str
    settings: list[ForeignSettings]
    arms: list[ForeignArm]
    sentence: str
    method: str
    confidence: float
    smallest: float | None
    rewards: dict[str, str]
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
