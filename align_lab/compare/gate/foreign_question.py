"""A gate on runs of other programs: nothing shows that its sides are comparable, and that is said first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from align_lab.base.errors import ConfigError, near
from align_lab.compare.foreign import partly_proven, section
from align_lab.compare.foreign.reader import ForeignRun
from align_lab.compare.foreign.section import MARK, OURS
from align_lab.compare.gate.question import Question, height, named
from align_lab.compare.gate.report import Side
from align_lab.compare.runs import Run
from align_lab.compare.summary import ArmRuns

Arm = Sequence[ForeignRun] | ArmRuns


def question(
    foreign: Sequence[ForeignRun], own: Mapping[str, Sequence[Run]], *, arm: str, against: str, curve: bool
) -> Question:
    """Two arms of the runs of other programs, or one of them and one of ours; `own`: our arms.

    An arm is named as the program's name stands behind it, `grpo (TRL)`, or without it where that is enough. Raises
    ConfigError for an arm that is not there, and where the two have no score in common.
    """
    arms = arms_of(foreign, own)
    names = [label(arms, arm, "--arm"), label(arms, against, "--against")]
    sides = [arms[name] for name in names]
    theirs = [run for side in sides if not isinstance(side, ArmRuns) for run in side]
    ours = [side for side in sides if isinstance(side, ArmRuns)]
    metric = section.shared_metric(theirs, ours)
    candidate, baseline = (_side(name, side, metric, curve=curve) for name, side in zip(names, sides, strict=True))
    for side in (candidate, baseline):
        if not side["values"]:
            raise ConfigError(f"{side['arm']} has not logged {metric}. Compare runs with a score in common")
    return Question(
        candidate=candidate, baseline=baseline, metric=named(metric, curve=curve), unproven=_unproven(theirs, ours)
    )


def arms_of(foreign: Sequence[ForeignRun], own: Mapping[str, Sequence[Run]]) -> dict[str, Arm]:
    """Label -> runs by seed."""
    labels = dict.fromkeys(run.label for run in foreign)
    theirs = {name: sorted((run for run in foreign if run.label == name), key=lambda run: run.seed) for name in labels}
    ours = {f"{name} ({OURS})": ArmRuns(name=name, runs=runs, metric=runs[0].metric) for name, runs in own.items()}
    return {**theirs, **ours}


def label(arms: Mapping[str, Arm], name: str, option: str) -> str:
    """The arm that is meant. Raises ConfigError where there is none, or more than one."""
    meant = [known for known in arms if name in (known, known.rpartition(" (")[0])]
    if len(meant) > 1:
        raise ConfigError(f"{option}={name} may be {' or '.join(meant)}. Type one of these, in quotes")
    if not meant:
        raise ConfigError(f"{option}={name}: there is no such arm. {near(name, arms)}")
    return meant[0]


def _side(name: str, side: Arm, metric: str, *, curve: bool) -> Side:
    """The runs that have logged the metric."""
    series = (
        [(run.seed, section.own_series(run, metric)) for run in side.runs]
        if isinstance(side, ArmRuns)
        else [(run.seed, run.series[metric]) for run in side]
    )
    logged = [(seed, each) for seed, each in series if len(each[1])]
    return Side(
        arm=name,
        seeds=[seed for seed, _ in logged],
        values=[height(*each) if curve else section.last(metric, each[1]) for _, each in logged],
        diverged=[],
    )


def _unproven(theirs: Sequence[ForeignRun], ours: Sequence[ArmRuns]) -> tuple[str, ...]:
    """What is equal, what differs, what nobody knows; then whose config was not found, and what contradicts."""
    settings = partly_proven.of_arms(theirs, ours, OURS)
    unknown = partly_proven.unknown(settings, theirs)
    return (
        f"{MARK.capitalize()}: {unknown}.",
        *(one["sentence"] for one in settings),
        *partly_proven.notes(settings, theirs),
    )
