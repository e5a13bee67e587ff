"""The trials of a tuned study: all at once, or in rounds where the next points depend on what came out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from align_lab.base.errors import ConfigError
from align_lab.base.run_config import RunConfig
from align_lab.base.tuning_plan import ETA, TuningPlan
from align_lab.compare.tuning import record
from align_lab.compare.tuning.record import Trial
from align_lab.config.composition import Composer
from align_lab.dispatch import launch
from align_lab.studies import search
from align_lab.studies.asked_search import Search
from align_lab.studies.search import Point, Space
from align_lab.studies.trials import as_study, outcome

Points = Mapping[str, Mapping[int, Point]]  # arm -> number of the trial -> its point


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A trial: a point of an arm, with one run for each tuning seed."""

    arm: str
    number: int
    point: Point
    steps: int
    runs: tuple[RunConfig, ...]


class Waiting(Exception):
    """Some trials of a round have not ended yet: those that are `left` of those `planned`.

    `count`: how many trials of each arm there are once they have.
    """

    def __init__(self, status: int, left: Sequence[Planned], planned: Sequence[Planned], count: int) -> None:
        self.status, self.left, self.planned, self.count = status, left, planned, count
        self.runs = [run for one in left for run in one.runs]
        super().__init__(f"{len(self.runs)} runs of trials")


def check(asked: Search) -> None:
    """Compose the first round, before anything is written down. Raises ConfigError for a point that cannot run, and for
    trials that would end before their budget.
    """
    if asked.plan.sampler == "sobol":
        points = _sobol(asked)
    else:
        size = _round_size(asked.plan)
        points = {arm: dict(enumerate(_next(space, {}, size))) for arm, space in asked.spaces.items()}
    planned = _planned(asked, points, ETA ** (_rungs(asked.plan) - 1) if asked.plan.prune else 1)
    short = [(needed, one) for one in planned if (needed := _steps_needed(one)) > one.runs[0].train.steps]
    if short:
        steps, one = max(short, key=lambda each: each[0])
        raise ConfigError(
            f"{one.arm}: with {' '.join(search.overrides(one.point))} a run ends after train.steps="
            f"{one.runs[0].train.steps} before its budget of {one.runs[0].train.budget.episodes:,} completions, which "
            f"other trials get. Give all arms more steps: train.steps={steps}"
        )


def _steps_needed(one: Planned) -> int:
    """Steps to the end of the budget of completions, where the trial's point decides how many a step has; else 0."""
    train = one.runs[0].train
    if train.budget.episodes is None or not set(one.point) & {*search.AMOUNTS}:
        return 0
    return -(-train.budget.episodes // (train.prompts_per_step * train.group_size))


def trials(asked: Search) -> Mapping[str, Sequence[Trial]]:
    """Run what is missing of the trials. Raises Waiting where not all have ended."""
    return _halved(asked) if asked.plan.prune else _in_rounds(asked)


def _in_rounds(asked: Search) -> dict[str, list[Trial]]:
    """All trials with all their steps: at once, or in rounds where the points depend on earlier results."""
    plan = asked.plan
    if plan.sampler == "sobol":
        return {arm: list(trials.values()) for arm, trials in _run(asked, _sobol(asked), plan.trials).items()}
    told: dict[str, dict[int, Trial]] = {arm: {} for arm in asked.arms}
    size = _round_size(plan)
    for first in range(0, plan.trials, size):
        count = min(size, plan.trials - first)
        points = {arm: dict(enumerate(_next(asked.spaces[arm], told[arm], count), first)) for arm in asked.arms}
        told = {arm: told[arm] | done for arm, done in _run(asked, points, first + count).items()}
    return {arm: list(trials.values()) for arm, trials in told.items()}


def _round_size(plan: TuningPlan) -> int:
    """Trials of a round, where the points of the next one depend on what came out."""
    return max(1, plan.trials // 3)


def _rungs(plan: TuningPlan) -> int:
    return 1 + int(math.log(plan.trials, ETA) + 1e-9)


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
    points: Mapping[str, Mapping[int, Point]] = _sobol(asked)
    trials: dict[str, list[Trial]] = {arm: [] for arm in asked.arms}
    for rung in reversed(range(_rungs(asked.plan))):
        done = _run(asked, points, len(next(iter(points.values()))), part=ETA**rung)
        for arm, each in done.items():
            trials[arm] += each.values()
        kept = max(1, len(next(iter(points.values()))) // ETA)
        points = {arm: {number: points[arm][number] for number in _best(each, kept)} for arm, each in done.items()}
    return trials


def _best(trials: Mapping[int, Trial], count: int) -> list[int]:
    """The numbers of the best trials; those that diverged come last."""
    ranked = sorted(trials, key=lambda number: (trials[number].score is None, -(trials[number].score or 0.0)))
    return sorted(ranked[:count])


def _run(asked: Search, points: Points, count: int, *, part: int = 1) -> dict[str, dict[int, Trial]]:
    """Run these trials, each with one `part`-th of the steps. Raises Waiting where not all have ended.

    Each is in the study's record once it has ended: its runs may then be removed.
    """
    planned = _planned(asked, points, part)
    done, left = _ended(asked, planned)
    if left:
        wanted = [
            run for one in planned for run in one.runs if one in left or (asked.trials_folder / run.name).is_dir()
        ]
        status = 1
        try:
            status = _launch(asked, wanted)
        finally:  # also where the command is stopped
            done, left = _ended(asked, planned)
        if asked.study.settings.dry_run or left:
            raise Waiting(status, left, planned, count)
    by_arm: dict[str, dict[int, Trial]] = {}
    for one, trial in done:
        by_arm.setdefault(one.arm, {})[one.number] = trial
    return by_arm


def _planned(asked: Search, points: Points, part: int) -> list[Planned]:
    places = [
        (asked.arms[name], number, point, max(1, round(asked.arms[name].steps / part)))
        for name, numbers in points.items()
        for number, point in numbers.items()
    ]
    jobs = [
        arm.trial(point, number=number, seed=seed, steps=steps)
        for arm, number, point, steps in places
        for seed in asked.plan.seeds
    ]
    new = [job for job in jobs if tuple(job) not in asked.composed]
    asked.composed.update(zip(map(tuple, new), Composer().runs(new), strict=True))
    runs = iter(asked.composed[tuple(job)] for job in jobs)
    each = len(asked.plan.seeds)
    return [
        Planned(arm=arm.name, number=number, point=point, steps=steps, runs=tuple(itertools.islice(runs, each)))
        for arm, number, point, steps in places
    ]


def _ended(asked: Search, planned: Sequence[Planned]) -> tuple[list[tuple[Planned, Trial]], list[Planned]]:
    """The trials that have ended, which the record then holds, and those that have not."""
    known = record.read(asked.folder) or record.Tuning(plan={})
    done: list[tuple[Planned, Trial]] = []
    left: list[Planned] = []
    for one in planned:
        trial = known.trial(one.arm, one.point, one.steps) or outcome(
            asked.trials_folder, one.runs, one.point, one.steps, asked.metric
        )
        if trial is None:
            left.append(one)
        else:
            done.append((one, trial))
    if known.plan and not asked.study.settings.dry_run:
        record.remember(asked.folder, known, [(one.arm, trial) for one, trial in done])
    return done, left


def _launch(asked: Search, runs: Sequence[RunConfig]) -> int:
    """Submit what is missing; a job of the cluster leaves out what has failed. Returns the status of `launch`."""
    ended = launch.ended_early(asked.trials_folder) if asked.unattended else ()
    wanted = tuple(run for run in runs if run.name not in ended)
    if not wanted:
        return 1
    trials = replace(as_study(asked.study, runs), seed_plan=None)
    return launch.launch(replace(trials, runs=wanted, complete=False) if ended else trials, console=asked.console)
