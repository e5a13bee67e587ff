"""Runs as another evaluation of their last checkpoints shows them: the same training, judged once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from align_lab.base.errors import ConfigError, near
from align_lab.base.run_config import leaves
from align_lab.compare.evaluations import Table
from align_lab.compare.runs import Run, Unfinished
from align_lab.record.evaluations import StoredEvaluation, read_all

SECTION = "evaluation."


def under(runs: Sequence[Run], name: str) -> tuple[list[Run], list[Unfinished]]:
    """The runs with the stored evaluation of this name in place of their own; those that have none are left out.

    Raises ConfigError where no run has it.
    """
    stored = {run.name: {one["name"]: one for one in read_all(run.path)} for run in runs}
    known = {each for names in stored.values() for each in names}
    if name not in known:
        raise ConfigError(
            f"--evaluation={name}: no run has an evaluation of this name, {near(name, known)}. Make it: python -m "
            f"align_lab evaluate STUDY evaluation.prompts=768 name={name}"
        )
    judged, without = [], []
    for run in runs:
        one = stored[run.name].get(name)
        last = float(run.rows["step"][-1])
        if one is None:
            without.append(Unfinished(run.name, f"it has no evaluation {name}", "unscored", run.base, run.seed))
        elif one["step"] != last:
            why = f"its evaluation {name} is of step {one['step']}, and it ended at {last:g}"
            without.append(Unfinished(run.name, why, "unscored", run.base, run.seed))
        else:
            judged.append(_under(run, one))
    return judged, without


def _under(run: Run, stored: StoredEvaluation) -> Run:
    """The start policy and the last checkpoint under this evaluation, whose settings are then the run's."""
    settings = {f"{SECTION}{key}": value for key, value in leaves(stored["settings"])}
    training = {key: value for key, value in run.fields.items() if not key.startswith(SECTION)}
    rows = run.rows.values[[0, -1]].copy()
    for metric, place in run.rows.columns.places.items():
        if metric.startswith("eval/"):
            rows[:, place] = _ends(stored["metrics"].get(metric))
    return replace(
        run,
        fields={**training, **settings},
        labels={**run.labels, **stored["labels"]},
        rows=Table(run.rows.columns, rows),
        evaluation=stored["name"],
    )


def _ends(measured: Mapping[str, Any] | None) -> tuple[float, float]:
    """The value of the start policy, and that of the checkpoint; nan where it was not measured."""
    found = (measured.get("start"), measured.get("value")) if measured else (None, None)
    start, end = (np.nan if value is None else float(value) for value in found)
    return start, end
