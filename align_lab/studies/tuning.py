"""A tuned study: each arm is tried at as many points, and its best recipe runs with fresh seeds, which decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from align_lab.base.errors import ConfigError
from align_lab.base.task import FEW_PROMPTS
from align_lab.compare.sequential import sight
from align_lab.compare.tuning import record
from align_lab.compare.tuning.record import Trial, Tuning
from align_lab.config.composition import Composer
from align_lab.config.study import Study
from align_lab.dispatch import expected_runs, launch, look
from align_lab.record.terminal import Terminal, escape
from align_lab.studies import asked_search, look_study, rounds, search, seed_steps
from align_lab.studies.asked_search import Search
from align_lab.studies.rounds import Waiting
from align_lab.studies.seed_steps import Outcome
from align_lab.studies.trials import UNSCORED, Arm, as_study, why_failed, without_score


def run(study: Study, *, console: Console | None = None) -> int:
    """Tune, then run the study. Killed at any point, the same command goes on, and no trial is run twice.

    Returns 0, or 1 where a run failed that the tuning needs. Raises ConfigError for what cannot be tuned, where the
    study was begun with another plan, and where another process goes on with it.
    """
    asked = begin(study, console or Terminal(soft_wrap=True))
    if study.settings.dry_run:
        return advance(asked).status
    with seed_steps.exclusive_looks(study.name):
        outcome = advance(asked)
    if outcome.sentence:
        asked.console.print(escape(outcome.sentence))
    return outcome.status


def begin(study: Study, console: Console, *, unattended: bool = False) -> Search:
    """Declare the plan, or find it equal to the declared one. Raises ConfigError with what speaks against it."""
    asked = asked_search.of(study, console, unattended=unattended)
    rounds.check(asked)
    for folder in (asked.trials_folder, asked.folder):
        expected_runs.refuse_other_seeds(folder, study)
    record.declare(asked.folder, _as_declared(asked), write=not study.settings.dry_run)
    _print_plan(asked)
    return asked


def advance(asked: Search) -> Outcome:
    """Run the trials, choose, and run the study, as far as it goes without waiting for jobs of the cluster.

    The caller holds the lease of the study's looks. Raises ConfigError and SlurmError.
    """
    study = asked.study
    try:
        trials = rounds.trials(asked)
    except Waiting as waiting:
        return _followed(asked, waiting) or _waits(asked, waiting)
    tuning = record.add(asked.folder, record.declare(asked.folder, _as_declared(asked)), trials)
    jobs = [job for arm in asked.arms.values() for job in _tuned(asked, arm, _chosen(asked, tuning, arm))]
    final = as_study(study, Composer().runs(jobs), complete=study.complete)
    if final.seed_plan:
        steps = seed_steps.begin(final, asked.console, unattended=asked.unattended)
        if tuning.spread is not None:
            asked.console.print(sight.in_units(steps.written, tuning.spread))
        return seed_steps.advance(steps)
    return Outcome(status=launch.launch(final, console=asked.console), sentence="")


def _chosen(asked: Search, tuning: Tuning, arm: Arm) -> Trial:
    """The best trial of an arm. Raises ConfigError where none has a score, with the reason and what to type."""
    scored = any(trial.score is not None for trial in tuning.trials[arm.name])
    without = [] if scored else without_score(asked.trials_folder, arm.name)
    if not without:
        return tuning.chosen(arm.name)
    every = f"all {len(tuning.trials[arm.name])} trials of {arm.name}"
    unscored = next((one for one in without if one.state == UNSCORED), None)
    if unscored is not None:
        raise ConfigError(
            f"{every} ended without a score; of {unscored.name} {unscored.why}. Repair the judge, or decide by another "
            "metric, for example evaluation.metric=eval/score, and tune again under a new name: study=NAME"
        )
    smaller, rate = "Set a smaller train.lr", arm.recipe.train.lr
    if "train.lr" not in arm.fixed:
        space = f"{{train.lr: 'log({rate / 100:.3g}, {rate / 4:.3g})'}}"
        smaller = f"Give it smaller learning rates, tune.space.{arm.name}={space}"
    raise ConfigError(f"{every} diverged. {smaller}, and tune again under a new name, study=NAME; or leave the arm out")


def _followed(asked: Search, waiting: Waiting) -> Outcome | None:
    """Submit the job that goes on when the trials have ended; None where there can be none, or nothing to wait for."""
    settings, recipes = asked.study.settings, [arm.recipe for arm in asked.arms.values()]
    if settings.dry_run or settings.wait or not look.possible(recipes):
        return None
    jobs = look.jobs_of(asked.trials_folder, {one.name for one in waiting.runs})
    if not jobs:
        return None
    name, more = f"tuning-{waiting.count}", look_study.described_tuning(asked.study)
    job = look.submit(asked.folder, name, recipes, after=jobs, program=look_study.PROGRAM, more=more)
    return Outcome(
        status=0,
        sentence=f"The tuning goes on with job {job}: when the {len(waiting.runs)} runs of trials have ended it "
        "reads them, chooses, and submits what comes next. Nothing has to stay logged in",
    )


def _waits(asked: Search, waiting: Waiting) -> Outcome:
    if asked.study.settings.dry_run:
        return Outcome(status=waiting.status, sentence="")
    failed = list(_failed(asked, waiting))
    listed = f" {'; '.join(failed)}. `align_lab status {asked.trials_folder.name}` lists them." if failed else ""
    waits = f"The tuning waits for {len(waiting.runs)} runs of trials.{listed}"
    return Outcome(
        status=waiting.status,
        sentence=f"{waits} When their jobs have ended, or what made them fail is repaired, the same command goes on",
    )


def _failed(asked: Search, waiting: Waiting) -> Iterator[str]:
    """Of each arm: how many of its trials failed for another reason than their score, and the first reason."""
    for arm in asked.arms:
        every = [one for one in waiting.planned if one.arm == arm]
        own = [one for one in waiting.left if one.arm == arm]
        reasons = [why.rstrip(".") for one in own if (why := why_failed(asked.trials_folder, one.runs))]
        if len(reasons) == len(every):
            yield (
                f"All {len(every)} trials of {arm} failed, none because it diverged; the first one {reasons[0]}. Where "
                f"no repair helps, another space is another tuning: study=NAME and tune.space.{arm}={{FIELD: RANGE}}"
            )
        elif reasons:
            yield f"{len(reasons)} of {len(every)} trials of {arm} failed; the first one {reasons[0]}"


def _as_declared(asked: Search) -> dict[str, Any]:
    """What is hashed before the first trial."""
    plan = asked.plan
    return {
        "trials": plan.trials,
        "sampler": plan.sampler,
        "seeds": plan.seeds,
        "prune": plan.prune,
        "metric": asked.metric,
        "prompts": asked.prompts,
        "arms": {name: arm.recipe.signature for name, arm in asked.arms.items()},
        "spaces": {arm: {field: str(one) for field, one in space.items()} for arm, space in asked.spaces.items()},
    }


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
    if asked.prompts and asked.prompts < FEW_PROMPTS:
        asked.console.print(
            f"  [yellow]the development set has {asked.prompts} prompts: what is chosen by so few is chosen in part by "
            "chance. Hold out more: data.development_share=0.2 (data=files), or data.development=N[/]"
        )
    for arm, space in asked.spaces.items():
        asked.console.print(f"  {escape(arm)}: {escape(', '.join(f'{field} {one}' for field, one in space.items()))}")
