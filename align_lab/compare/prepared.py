"""What a comparison compares: the runs of each arm, every seed once, what decides, and the proof of equal settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from align_lab.base.design import Design
from align_lab.base.errors import ConfigError
from align_lab.compare import asked as questions
from align_lab.compare import curves, labels, pool, reevaluated, samples, summary
from align_lab.compare.answers import Answers
from align_lab.compare.asked import Asked
from align_lab.compare.comparability import arms as arms_of
from align_lab.compare.comparability import proof
from align_lab.compare.document import SCORE, Comparability, Label
from align_lab.compare.evaluations import Table
from align_lab.compare.gaps import Measure
from align_lab.compare.overoptimization import Scores
from align_lab.compare.pool import StudyRuns
from align_lab.compare.runs import Run, Unfinished
from align_lab.compare.sequential import plan_file
from align_lab.compare.sequential import verdict as sequential
from align_lab.compare.sequential.looks import Looks
from align_lab.compare.sequential.plan_file import WrittenPlan
from align_lab.compare.summary import ArmRuns

SHOWN = 24  # arms that are compared pair by pair and drawn: the best ones
Groups = Mapping[str, Sequence[Run]]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The runs of one or several studies, ready to be compared. `arms`: the best first, all of them."""

    study: StudyRuns
    groups: Groups  # arm -> its runs, each seed once
    duplicates: Sequence[Unfinished]  # runs that repeat a seed of their arm
    arms: Sequence[ArmRuns]
    asked: Asked  # which pairs, and which gap matters
    comparability: Comparability
    scores: Scores
    plan: WrittenPlan | None  # of a study whose seeds came in steps
    looks: Looks | None

    @property
    def shown(self) -> Sequence[ArmRuns]:
        """The arms that are compared pair by pair and drawn."""
        return self.arms[:SHOWN]

    @property
    def design(self) -> Design | None:
        """The factors that are asked for, where an arm that has run is one of their cells."""
        design = self.asked.design
        return design if design and any(arm in design.cells for arm in self.groups) else None

    @property
    def runs(self) -> list[Run]:
        """All that are used."""
        return _used(self.groups)

    @cached_property
    def rows(self) -> Mapping[str, Table]:
        """The evaluations of the arms that are shown."""
        return {arm.name: curves.stacked(arm.runs) for arm in self.shown}

    @cached_property
    def answers(self) -> Mapping[str, Mapping[int, Answers]]:
        """What the arms that are shown answered in their last evaluations."""
        return samples.of_arms({arm.name: arm.runs for arm in self.shown})

    @property
    def measure(self) -> Measure:
        """What gaps are in."""
        label = self.scores.labels[self.scores.metric]
        return Measure(label=label["label"], unit=label["unit"], smallest=self.asked.smallest)

    @property
    def few(self) -> dict[str, Sequence[Run]]:
        """The runs that are drawn one by one."""
        return curves.few({arm.name: arm.runs for arm in self.shown}, self.scores.metric)


def prepare(folders: Sequence[Path], *, allow: Sequence[str], asked: Asked, evaluation: str = "") -> Prepared:
    """Read the studies; the proof is over every run that was read, also over those that are set aside.

    evaluation: the name of a stored one that decides in place of that of the training.

    Raises ConfigError for a folder without runs, for a control that is no arm, and for a question that a study
    whose seeds came in steps does not answer.
    """
    study = pool.read(folders)
    plan = plan_file.read(folders[0]) if len(folders) == 1 else None
    if evaluation:
        if plan:
            raise ConfigError("--evaluation: this study's seeds came in steps, and its plan names what decides")
        study.runs, without = reevaluated.under(study.runs, evaluation)
        study.unfinished += without
    if plan:
        sequential.refuse(plan, asked=asked)
    metric = _metric(study.runs)
    groups, duplicates = _once(arms_of(study.runs, allow))
    wants_pairs = bool(asked.paired)
    asked = plan.asked if plan else questions.of_command(asked, study, groups)
    if asked.design and wants_pairs and not asked.control:
        raise ConfigError("--paired is for pairs of arms, and this study asks about factors: leave it out")
    arms = _shown_first(summary.ranked(groups, metric), asked.arms)
    return Prepared(
        study=study,
        groups=groups,
        duplicates=duplicates,
        arms=arms,
        asked=asked,
        comparability=proof(study.runs, {arm.name: arm.runs for arm in arms}, allow),
        scores=Scores(metric, _labels(study.runs, metric)),
        plan=plan,
        looks=sequential.looks_of(plan, folders[0], _used(groups), study.unfinished) if plan else None,
    )


def _used(groups: Groups) -> list[Run]:
    return [run for runs in groups.values() for run in runs]


def _shown_first(arms: list[ArmRuns], asked: Collection[str]) -> list[ArmRuns]:
    """The arms, the best first; those that are asked for are among the first SHOWN, at whose end they stand."""
    late = [arm for arm in arms[SHOWN:] if arm.name in asked][:SHOWN]
    if not late:
        return arms
    room = SHOWN - len(late) - sum(arm.name in asked for arm in arms[:SHOWN])
    first: list[ArmRuns] = []
    for arm in arms[:SHOWN]:
        if arm.name in asked:
            first.append(arm)
        elif room > 0:
            first.append(arm)
            room -= 1
    chosen = [*first, *late]
    return [*chosen, *(arm for arm in arms if arm not in chosen)]


def _metric(runs: Sequence[Run]) -> str:
    """The deciding metric; if runs name several (a setting that differs), the score that all of them have."""
    metrics = {run.metric for run in runs}
    return metrics.pop() if len(metrics) == 1 else SCORE


def _labels(runs: Sequence[Run], metric: str) -> dict[str, Label]:
    """Raises ConfigError for a metric that is better where it is lower: the best arm would be called the worst."""
    names = labels.of_runs(runs, [metric, SCORE, *(runs[0].rows.columns.evaluated if runs else [])])
    if names[metric]["better"] == "lower":
        raise ConfigError(
            f"{metric} is better where it is lower, but the metric that decides must be better where it is higher: "
            "let the judge return its negative, or set evaluation.metric to another one"
        )
    return names


def _once(groups: Groups) -> tuple[dict[str, list[Run]], list[Unfinished]]:
    """Each seed of an arm once, the first; the others are set aside."""
    used: dict[str, list[Run]] = {}
    duplicates = []
    for arm, runs in groups.items():
        by_seed: dict[int, Run] = {}
        for run in runs:
            first = by_seed.setdefault(run.seed, run)
            if first is not run:
                why = f"seed {run.seed} of {arm} was run more than once: {first.name} is used"
                duplicates.append(Unfinished(run.name, why, "duplicate", arm, run.seed, first.name))
        used[arm] = list(by_seed.values())
    return used, duplicates
