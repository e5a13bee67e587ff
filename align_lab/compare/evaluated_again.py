"""Evaluations of runs that were made after training (`align_lab evaluate`): listed, and never part of a verdict."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from align_lab.compare.document import Evaluated
from align_lab.compare.runs import Run
from align_lab.record.layout import EVALUATIONS


def of_arms(arms: Mapping[str, Sequence[Run]]) -> list[Evaluated]:
    """A row a metric of every stored evaluation, arm by arm."""
    return [row for arm, runs in arms.items() for run in runs for row in _of_run(arm, run)]


def _of_run(arm: str, run: Run) -> Iterator[Evaluated]:
    if not os.path.isdir(f"{run.place}/{EVALUATIONS}"):
        return
    from align_lab.record.evaluations import read_all

    for stored in read_all(run.path):
        for metric, measured in stored["metrics"].items():
            yield {
                "arm": arm, "seed": run.seed, "run": run.name, "name": stored["name"], "step": stored["step"],
                "metric": metric, **measured,
            }  # fmt: skip
