"""The comparison document: everything that a comparison says, as plain JSON. Its keys are declared here and
in the `document_*` modules, and nowhere else.

Terminal, page, tables, figures, lock and dashboards only show what stands in it. Numbers that do not exist are None,
never nan.
"""

from __future__ import annotations

from typing import TypedDict

from align_lab.compare.document_curves import (
    Axis,
    Band,
    Finding,
    Flip,
    Frontier,
    Health,
    Overoptimization,
    Place,
    Point,
    Ranked,
)
from align_lab.compare.document_factors import Combination, Factorial, Level, Source
from align_lab.compare.document_runs import (
    Completion,
    Evaluated,
    Foreign,
    ForeignArm,
    ForeignColumn,
    ForeignField,
    ForeignPoint,
    ForeignSettings,
    LeftOut,
    Missing,
    Rate,
    Sample,
    Wins,
)
from align_lab.compare.document_tuning import Expected, Sensitivity, TunedArm, TuningDocument
from align_lab.compare.document_verdict import (
    Arm,
    Bought,
    ByArm,
    Charged,
    Claimed,
    Comparability,
    Differing,
    Equal,
    Improvement,
    Label,
    Pair,
    Precision,
    Shares,
    Spread,
    Summary,
    Verdict,
)

__all__ = [
    "SCORE",
    "VERSION",
    "Arm",
    "Axis",
    "Band",
    "Bought",
    "ByArm",
    "Charged",
    "Claimed",
    "Combination",
    "Comparability",
    "Completion",
    "Differing",
    "Document",
    "Equal",
    "Evaluated",
    "Expected",
    "Factorial",
    "Finding",
    "Flip",
    "Foreign",
    "ForeignArm",
    "ForeignColumn",
    "ForeignField",
    "ForeignPoint",
    "ForeignSettings",
    "Frontier",
    "Health",
    "Improvement",
    "Label",
    "LeftOut",
    "Level",
    "Missing",
    "Overoptimization",
    "Pair",
    "Place",
    "Point",
    "Precision",
    "Ranked",
    "Rate",
    "Sample",
    "Sensitivity",
    "Shares",
    "Source",
    "Spread",
    "Summary",
    "TunedArm",
    "TuningDocument",
    "Verdict",
    "Wins",
]

VERSION = 3
SCORE = "eval/score"  # the reward that is optimized, in every evaluation; it decides where a run names no other metric


class Document(TypedDict):
    """metric: the one that decides; metrics: how each is called; arms: the best first; links: run -> its folder; code:
    the commits that computed the runs, with + where one had uncommitted changes.
    """

    version: int
    study: str
    question: str
    written: str
    metric: str
    metrics: dict[str, Label]
    verdict: Verdict
    precision: list[Precision]
    claims: list[Claimed]
    factors: Factorial | None
    tuning: TuningDocument | None
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
    code: list[str]
    notes: list[str]
    foreign: Foreign | None
