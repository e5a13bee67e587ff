"""The record of a tuning: its plan before the first trial, then each trial with its scores and its costs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from align_lab.base.errors import ConfigError
from align_lab.base.files import write_json
from align_lab.record.layout import StudyLayout

LATER = {"prompts"}  # fields of a plan that one of an older version lacks
COSTS = ("episodes", "tokens", "device_seconds", "flops")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A point of an arm's space. `scores`: one for each tuning seed, in their order; None for a run that diverged, or
    that the deciding judge could not score.
    """

    point: Mapping[str, Any]
    scores: tuple[float | None, ...]
    spent: Mapping[str, float]  # over all seeds, see COSTS
    steps: int  # of its runs: fewer in the early rungs of successive halving

    @property
    def score(self) -> float | None:
        """The mean over the seeds; None where a run diverged."""
        known = [score for score in self.scores if score is not None]
        return fmean(known) if len(known) == len(self.scores) else None


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The plan of a tuning (hashed, never changed), and its trials."""

    plan: Mapping[str, Any]  # fields of TuningPlan, metric and prompts that judge, and each arm's recipe and space
    trials: Mapping[str, Sequence[Trial]] = field(default_factory=dict[str, Sequence[Trial]])  # once all have ended
    ended: Mapping[str, Sequence[Trial]] = field(default_factory=dict[str, Sequence[Trial]])  # of each arm until then

    @property
    def digest(self) -> str:
        """A hash of the plan."""
        return hashlib.sha256(json.dumps(self.plan, sort_keys=True).encode()).hexdigest()[:16]

    def trial(self, arm: str, point: Mapping[str, Any], steps: int) -> Trial | None:
        """The trial at this point with so many steps; None where it has not ended."""
        asked = json.loads(json.dumps(dict(point)))
        each = [*self.trials.get(arm, ()), *self.ended.get(arm, ())]
        return next((trial for trial in each if trial.point == asked and trial.steps == steps), None)

    def chosen(self, arm: str) -> Trial:
        """The best trial of an arm, among those with the most steps. Raises ConfigError where none has a score."""
        longest = max((trial.steps for trial in self.trials[arm]), default=0)
        finished = [trial for trial in self.trials[arm] if trial.steps == longest and trial.score is not None]
        if not finished:
            raise ConfigError(
                f"all {len(self.trials[arm])} trials of {arm} ended without a score: in each a run diverged, or the "
                "judge that decides could not score it. Tune again under a new name, study=NAME, with another space or "
                "judge, or leave the arm out"
            )
        return max(finished, key=lambda trial: trial.score or 0.0)

    @property
    def spread(self) -> float | None:
        """The standard deviation over tuning seeds of one trial's score, on the development set: pooled over all trials
        with the most steps in which no run diverged. None where there was one seed.
        """
        longest = max((trial.steps for each in self.trials.values() for trial in each), default=0)
        ended = [trial for each in self.trials.values() for trial in each if trial.steps == longest]
        scores = [[score for score in trial.scores if score is not None] for trial in ended if trial.score is not None]
        known = [variance(each) for each in scores if len(each) > 1]
        return fmean(known) ** 0.5 if known else None


def declare(folder: Path, plan: Mapping[str, Any], *, write: bool = True) -> Tuning:
    """Write the plan of a tuning that has none yet; of one that has, return it with its trials.

    Raises ConfigError where the study was begun with another plan, with every difference.
    """
    asked = Tuning(plan=json.loads(json.dumps(plan)))
    known = read(folder)
    if known and not known.plan.keys() & LATER:
        asked = replace(asked, plan={name: value for name, value in asked.plan.items() if name not in LATER})
    if known is None:
        if write:
            _write(folder, asked)
        return asked
    if known.digest != asked.digest:
        listed = "\n".join(
            f"  tune.{name}: {known.plan.get(name)!r}, now {asked.plan.get(name)!r}"
            for name in {**known.plan, **asked.plan}
            if known.plan.get(name) != asked.plan.get(name)
        )
        raise ConfigError(
            f"the study {folder.name} was begun with another tuning:\n{listed}\nType what it began with, or give the "
            "new one a name of its own: study=NAME"
        )
    return known


def add(folder: Path, tuning: Tuning, trials: Mapping[str, Sequence[Trial]]) -> Tuning:
    """The tuning with these trials in place of the ones that it had, written."""
    whole = replace(tuning, trials=trials, ended={})
    _write(folder, whole)
    return whole


def remember(folder: Path, tuning: Tuning, trials: Sequence[tuple[str, Trial]]) -> None:
    """Write down the trials (of which arm, the trial) that have ended and are not in the record yet."""
    ended = {arm: list(each) for arm, each in tuning.ended.items()}
    new = [(arm, trial) for arm, trial in trials if tuning.trial(arm, trial.point, trial.steps) is None]
    for arm, trial in new:
        ended.setdefault(arm, []).append(trial)
    if new:
        _write(folder, replace(tuning, ended=ended))


def read(folder: Path) -> Tuning | None:
    """The tuning of a study; None where it has none. Raises ConfigError for a file that was changed."""
    path = StudyLayout(folder).tuning
    if not path.exists():
        return None
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        content = json.loads(path.read_text(encoding="utf-8"))
        tuning = Tuning(
            plan=content["plan"],
            trials={arm: _trials(rows) for arm, rows in content["trials"].items()},
            ended={arm: _trials(rows) for arm, rows in content.get("ended", {}).items()},
        )
        if content["digest"] == tuning.digest and content["sealed"] == _seal(tuning):
            return tuning
    raise ConfigError(f"{path} is not as the study wrote it: bring it back, or begin again under another study=NAME")


def _trials(rows: Sequence[Mapping[str, Any]]) -> list[Trial]:
    return [Trial(**{**row, "scores": tuple(row["scores"])}) for row in rows]


def _rows(trials: Mapping[str, Sequence[Trial]]) -> dict[str, list[dict[str, Any]]]:
    return {arm: [asdict(trial) for trial in each] for arm, each in trials.items()}


def _seal(tuning: Tuning) -> str:
    whole = _rows(tuning.trials) if tuning.trials else {"ended": _rows(tuning.ended)} if tuning.ended else {}
    text = json.dumps(whole, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(folder: Path, tuning: Tuning) -> None:
    path = StudyLayout(folder).tuning
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"plan": tuning.plan, "digest": tuning.digest, "trials": _rows(tuning.trials), "sealed": _seal(tuning)}
    write_json(path, {**content, "ended": _rows(tuning.ended)} if tuning.ended else content)
