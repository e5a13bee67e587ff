"""A tuned study: each arm is tried at as many points, and its best recipe runs with fresh seeds, which decide."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from align_lab.base.errors import ConfigError
from align_lab.base.paths import runs_folder
from align_lab.base.run_config import RunConfig
from align_lab.base.tuning_plan import ETA, TuningPlan
from align_lab.compare.tuning import record
from align_lab.compare.tuning.record import Trial
from align_lab.config.composition import Composer
from align_lab.config.study import Study
from align_lab.dispatch import launch
from align_lab.studies import search, seed_steps
from align_lab.studies.search import Point, Space
from align_lab.studies.trials import Arm, arms_of, as_study, outcome

Points = Mapping[str, Mapping[int, Point]]  # arm -> number of the trial -> its point


@dataclass(frozen=True, kw_only=True)
class Search:
    """A study, its plan, and its arms with their spaces."""

    study: Study
    plan: TuningPlan
    arms: Mapping[str, Arm]
    spaces: Mapping[str, Space]
    console: Console

    @property
    def folder(self) -> Path:
        """Of the study; the trials are in a study of their own beside it."""
        return runs_folder() / self.study.name

    @property
    def trials_folder(self) -> Path:
        """Of the study of the trials."""
        return self.folder.with_name(f"{self.study.name}_tuning")

    @property
    def metric(self) -> str:
        """What decides."""
        return next(iter(self.arms.values())).recipe.evaluation.metric


class Waiting(Exception):
    """Some trials have neither finished nor diverged yet."""

    def __init__(self, status: int, missing: int) -> None:
        super().__init__(f"{missing} trials")
        self.status, self.missing = status, missing


def run(study: Study, *, console: Console | None = None) -> int:
    """Tune, then run the study. Killed at any point, the same command goes on, and no trial is run twice.

    Returns 0, or 1 where a run failed that the tuning needs. Raises ConfigError for what cannot be tuned, and where the
    study was begun with another plan.
    """
    asked = _search(study, console or Console(highlight=False, soft_wrap=True))
    tuning = record.declare(asked.folder, _as_declared(asked), write=not study.settings.dry_run)
    _print_plan(asked)
    try:
        trials = _halved(asked) if asked.plan.prune else _in_rounds(asked)
    except Waiting as waiting:
        if not study.settings.dry_run:
            asked.console.print(
                f"The tuning waits for {waiting.missing} trials. When their jobs have ended, or what made them fail is "
                "repaired, the same command goes on"
            )
        return waiting.status
    tuning = record.add(asked.folder, tuning, trials)
    jobs = [job for arm in asked.arms.values() for job in _tuned(asked, arm, tuning.chosen(arm.name))]
    final = as_study(study, Composer().runs(jobs), complete=study.complete)
    return seed_steps.run(final, console=console) if final.seed_plan else launch.launch(final, console=console)


def _search(study: Study, console: Console) -> Search:
    """Raises ConfigError for a plan that these arms cannot follow."""
    plan, arms = study.tuning, arms_of(study)
    assert plan is not None
    if unknown := sorted(set(plan.spaces) - set(arms)):
        raise ConfigError(f"tune.space.{unknown[0]}: there is no such arm, only {', '.join(arms)}")
    if plan.prune and plan.sampler != "sobol":
        raise ConfigError(f"tune.prune={plan.prune} goes with tune.sampler=sobol: its points do not depend on results")
    if metrics := sorted({arm.recipe.evaluation.metric for arm in arms.values()})[1:]:
        raise ConfigError(f"the arms are judged by several metrics ({', '.join(metrics)} and another): set one")
    spaces = {
        name: search.space_of(name, arm.recipe, written=plan.spaces.get(name), fixed=arm.fixed)
        for name, arm in arms.items()
    }
    return Search(study=study, plan=plan, arms=arms, spaces=spaces, console=console)


def _as_declared(asked: Search) -> dict[str, Any]:
    """What is hashed before the first trial."""
    plan = asked.plan
    return {
        "trials": plan.trials,
        "sampler": plan.sampler,
        "seeds": plan.seeds,
        "prune": plan.prune,
        "metric": asked.metric,
        "arms": {name: arm.recipe.signature for name, arm in asked.arms.items()},
        "spaces": {arm: {field: str(one) for field, one in space.items()} for arm, space in asked.spaces.items()},
    }


def _in_rounds(asked: Search) -> dict[str, list[Trial]]:
    """All trials with all their steps: at once, or in rounds where the points depend on earlier results."""
    plan = asked.plan
    if plan.sampler == "sobol":
        return {arm: list(trials.values()) for arm, trials in _run(asked, _sobol(asked), part=1).items()}
    told: dict[str, dict[int, Trial]] = {arm: {} for arm in asked.arms}
    size = max(1, plan.trials // 3)
    for first in range(0, plan.trials, size):
        count = min(size, plan.trials - first)
        points = {arm: dict(enumerate(_next(asked.spaces[arm], told[arm], count), first)) for arm in asked.arms}
        told = {arm: told[arm] | done for arm, done in _run(asked, points, part=1).items()}
    return {arm: list(trials.values()) for arm, trials in told.items()}


def _next(space: Space, told: Mapping[int, Trial], count: int) -> list[Point]:
    return search.tpe(space, [(dict(trial.point), trial.score) for trial in told.values()], count)


def _sobol(asked: Search) -> dict[str, dict[int, Point]]:
    points = search.sobol(asked.spaces, asked.plan.trials)
    return {arm: dict(enumerate(each)) for arm, each in points.items()}


def _halved(asked: Search) -> dict[str, list[Trial]]:
    """Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): the same rungs for every arm.

    Each rung keeps a third of its trials for the next one, which has three times the steps. They begin anew there, so
    that warm-up and decay of a run are its own; that is charged.
    """
    rungs = 1 + int(math.log(asked.plan.trials, ETA) + 1e-9)
    points: Mapping[str, Mapping[int, Point]] = _sobol(asked)
    trials: dict[str, list[Trial]] = {arm: [] for arm in asked.arms}
    for rung in reversed(range(rungs)):
        done = _run(asked, points, part=ETA**rung)
        for arm, each in done.items():
            trials[arm] += each.values()
        kept = max(1, len(next(iter(points.values()))) // ETA)
        points = {arm: {number: points[arm][number] for number in _best(each, kept)} for arm, each in done.items()}
    return trials


def _best(trials: Mapping[int, Trial], count: int) -> list[int]:
    """The numbers of the best trials; those that diverged come last."""
    ranked = sorted(trials, key=lambda number: (trials[number].score is None, -(trials[number].score or 0.0)))
    return sorted(ranked[:count])


def _run(asked: Search, points: Points, *, part: int) -> dict[str, dict[int, Trial]]:
    """Run these trials, each with one `part`-th of the steps. Raises Waiting where not all have ended."""
    jobs = [job for arm, numbers in points.items() for number, point in numbers.items()
            for job in _jobs(asked, asked.arms[arm], number, point, part)]  # fmt: skip
    runs = Composer().runs(jobs)
    if (done := _outcomes(asked, points, runs, part)) is None:
        trials = replace(as_study(asked.study, runs), seed_plan=None)
        status = launch.launch(trials, console=asked.console)
        done = _outcomes(asked, points, runs, part)
        if asked.study.settings.dry_run or done is None:
            raise Waiting(status, sum(map(len, points.values())))
    return done


def _jobs(asked: Search, arm: Arm, number: int, point: Point, part: int) -> Iterator[list[str]]:
    for seed in asked.plan.seeds:
        yield arm.trial(point, number=number, seed=seed, steps=_steps(arm, part))


def _steps(arm: Arm, part: int) -> int:
    return max(1, round(arm.steps / part))


def _outcomes(
    asked: Search, points: Points, runs: Sequence[RunConfig], part: int
) -> dict[str, dict[int, Trial]] | None:
    """What the trials' records say; None as long as one has not ended. `runs`: of each trial in turn, for each seed."""
    remaining, seeds = iter(runs), len(asked.plan.seeds)
    done: dict[str, dict[int, Trial]] = {}
    for arm, numbers in points.items():
        for number, point in numbers.items():
            of_trial, steps = list(itertools.islice(remaining, seeds)), _steps(asked.arms[arm], part)
            ended = outcome(asked.trials_folder, of_trial, point, steps, asked.metric)
            if ended is None:
                return None
            done.setdefault(arm, {})[number] = ended
    return done


def _tuned(asked: Search, arm: Arm, best: Trial) -> Iterator[list[str]]:
    """The overrides of the study's runs of an arm, with the recipe that was found, which is printed."""
    recipe = " ".join(search.overrides(best.point))
    asked.console.print(
        f"  {escape(arm.name)}: best of {asked.plan.trials} trials, {asked.metric} of the development set "
        f"{best.score:.3f}: {escape(recipe)}"
    )
    seeds = [text for job in asked.study.jobs if _is_of(job, arm) for text in job if text.startswith("seed=")]
    for seed in seeds:
        yield [*arm.tuned(best.point), seed]


def _is_of(job: Sequence[str], arm: Arm) -> bool:
    return tuple(text for text in job if not text.startswith("seed=")) == arm.job


def _print_plan(asked: Search) -> None:
    plan, arms = asked.plan, len(asked.arms)
    runs = plan.trials * len(plan.seeds) * arms
    asked.console.print(
        f"[bold]{escape(asked.study.name)}[/]: {arms} arms are tuned with {plan.trials} trials each, at seeds "
        f"{', '.join(map(str, plan.seeds))}, on the development set: {runs} runs"
        f"{' or fewer steps each' if plan.prune else ''}; then the best recipe of each runs with the study's seeds"
    )
    for arm, space in asked.spaces.items():
        asked.console.print(f"  {escape(arm)}: {escape(', '.join(f'{field} {one}' for field, one in space.items()))}")
