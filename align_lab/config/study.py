"""A study: the runs that one command asks for, by swept values (`-m algo=a,b seed=1,2`) or a file under sweeps/."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.override_parser.types import Override

from align_lab.base import claim, contrast, shapes, vary
from align_lab.base.design import Design
from align_lab.base.errors import ConfigError, near, short
from align_lab.base.hyperparameters import Budget
from align_lab.base.metrics import of_run as metrics_of_run
from align_lab.base.run_config import RunConfig
from align_lab.base.seed_plan import SeedPlan
from align_lab.base.tuning_plan import WORDS as TUNING
from align_lab.base.tuning_plan import TuningPlan, tuning_plan
from align_lab.config import (
    composition,
    equal_settings,
    factors,
    overrides,
    pairing,
    study_seeds,
    unread,
    values,
)
from align_lab.config.composition import Composer
from align_lab.config.root import FREE, STUDY_KEYS, StudySettings
from align_lab.config.study_file import check_arm


@dataclass(frozen=True, kw_only=True)
class Study:
    """Checked runs under one name. Each run is in it once; `duplicates` names those that the command repeats."""

    name: str
    sweep: str | None  # the sweep file that declares it
    settings: StudySettings  # its `arms` are the cells of the design, where there is one
    runs: tuple[RunConfig, ...]
    complete: bool = True  # all arms and seeds of the sweep file, not a selection of them
    design: Design | None = None  # where its arms are combinations of factors
    seed_plan: SeedPlan | None = None  # seeds in steps: `runs` are all that it may come to
    tuning: TuningPlan | None = None  # `runs` have the recipes that the tuning begins with
    jobs: tuple[tuple[str, ...], ...] = ()  # where it is tuned: the overrides of each run
    duplicates: tuple[str, ...] = ()


def read(texts: Sequence[str], *, multirun: bool = True) -> Study:
    """Every run that the overrides ask for, composed and checked. Raises ConfigError with every mistake.

    Without `multirun` it is one run, and several values of a key are an error.
    """
    parsed = overrides.parse(texts)
    typed = {str(one.key_or_group) for one in parsed}
    composition.load_components(parsed)
    composer = Composer()
    sweep = next((str(o.value()) for o in parsed if o.key_or_group == "sweeps"), None)
    fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
    of_study = [text for text in fixed if _concerns_study(text)]
    settings = composer.study(of_study)
    _refuse_misplaced(parsed, settings, multirun=multirun)
    if not multirun:
        run = composer.run(texts)
        unread.refuse([run], typed)
        return from_runs([run], settings=settings)
    study_seeds.refuse_two(parsed)
    varied, given = study_seeds.varied(settings.seeds)
    settings, given = study_seeds.smallest(settings, given)
    settings, design = factors.planned(settings, parsed)
    moved = study_seeds.override(varied, vary.of(composer.values(of_study)) if varied else (), parsed)
    plan, seeds = study_seeds.numbers(given)
    selected = study_seeds.has(parsed, "seed")
    jobs = list(expand([*parsed, *moved], settings, seeds, composition.sweeper_params(fixed) if sweep else {}))
    complete = not selected and not any(o.is_sweep_override() or o.key_or_group == "algo" for o in parsed)
    runs = composer.runs(jobs)
    settings, plan = pairing.declared(settings, plan, runs)
    study = from_runs(runs, settings=settings, sweep=sweep, complete=complete)
    equal_settings.refuse_arms(runs)
    unread.refuse(runs, typed)
    _check_question(study, plan)
    tuning = _tuning(settings.tune, {run.seed for run in runs})
    return dataclasses.replace(
        study,
        design=design,
        seed_plan=None if selected else plan,
        tuning=tuning,
        jobs=tuple(map(tuple, jobs)) if tuning else (),
    )


def _refuse_misplaced(parsed: Sequence[Override], settings: StudySettings, *, multirun: bool) -> None:
    """Raises ConfigError for several values of what a study has one of, and for a plan of a study with a single run."""
    for one in parsed:
        if one.is_sweep_override() and one.key_or_group.partition(".")[0] in ("study", *STUDY_KEYS):
            raise ConfigError(
                f"{one.input_line}: a study has one value of {one.key_or_group}. Type one command for each"
            )
    if multirun:
        return
    for key in (*FREE, "smallest", "paired"):
        if getattr(settings, key) is not None:
            raise ConfigError(f"{key} is of a study with several runs, and this is one run. Add -m, or sweeps=NAME")
    if settings.design != "full":
        raise ConfigError(
            "design is of a study with several runs, and this is one run. Write a study file with factors"
        )
    if settings.metric:
        raise ConfigError(f"metric is of a study, and this is one run. Type evaluation.metric={settings.metric}")
    for name, value in vars(settings.budget).items():
        if value is not None:
            raise ConfigError(f"budget.{name} is of a study, and this is one run. Type train.budget.{name}={value}")


def _tuning(value: Any, seeds: set[int]) -> TuningPlan | None:
    """Raises ConfigError with what is allowed."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ConfigError(f"tune={short(str(value))}: it must be {TUNING}")
    return tuning_plan(cast(Mapping[str, Any], value), seeds=seeds)


def _check_question(study: Study, plan: SeedPlan | None) -> None:
    """Raises ConfigError for a contrast, a claim, or a control, that this study could not decide."""
    claims = [claim.read(text) for text in study.settings.claims]
    if claims and plan:
        raise ConfigError("claims need a fixed number of seeds: they are not part of the looks. Type seeds=[0,1,2,3,4]")
    run_arms = dict.fromkeys(run["arm"] or run.choices["algo"] for run in study.runs)
    arms = {*study.settings.arms, *run_arms}
    _check_contrasts(study.settings, arms, run_arms if plan else ())
    if study.settings.control and study.settings.control not in arms:
        raise ConfigError(f"control={study.settings.control} is none of the arms. {near(study.settings.control, arms)}")
    metrics = metrics_of_run(study.runs[0].values) if any(one.metric for one in claims) else {}
    for one in claims:
        claim.check(one, arms, [name for name in metrics if name.startswith("eval/")], study.settings.smallest)


def _check_contrasts(settings: StudySettings, arms: Collection[str], in_steps: Iterable[str]) -> None:
    """`in_steps`: the arms, where seeds come in steps: an arm outside every contrast would get none."""
    pairs = contrast.read(settings.contrasts)
    if not pairs:
        return
    contrast.check(pairs, arms)
    if settings.control:
        raise ConfigError(
            f"control={settings.control} asks for every pair with one arm, and contrasts for others: leave one out"
        )
    named = {name for pair in pairs for name in pair}
    if idle := [arm for arm in in_steps if arm not in named]:
        raise ConfigError(
            f"{', '.join(idle)}: in none of the contrasts, which alone decide when seeds in steps end, so that no run "
            "would be made. Add a contrast, leave the arm out, or type a fixed number of seeds: seeds=[0,1,2,3,4]"
        )


def from_runs(
    runs: Iterable[RunConfig], *, settings: StudySettings, sweep: str | None = None, complete: bool = True
) -> Study:
    """Raises ConfigError when the runs belong to several studies, and for two arms that are the same runs."""
    unique: dict[str, RunConfig] = {}
    duplicates: list[str] = []
    for run in runs:
        first = unique.setdefault(run.name, run)
        if first["arm"] != run["arm"]:
            raise ConfigError(
                f"the arms {first['arm']} and {run['arm']} are one and the same run ({run.name}): they would be "
                "compared with themselves. Change an override of one, or leave it out"
            )
        duplicates += [run.name] if first is not run else []
    names = sorted({str(run["study"]) for run in unique.values()})
    if len(names) != 1:
        raise ConfigError(f"one command, one study: study= gives {', '.join(names) or 'none'}. Set study=NAME once")
    return Study(
        name=names[0],
        sweep=sweep,
        settings=settings,
        runs=tuple(unique.values()),
        complete=complete,
        duplicates=tuple(duplicates),
    )


def expand(
    parsed: Sequence[Override], settings: StudySettings, seeds: Sequence[int], params: Mapping[str, str]
) -> Iterator[list[str]]:
    """The overrides of each job: every combination of arms, swept values and seeds. The command line wins.

    `params` are the values that a sweep file sweeps by `hydra.sweeper.params`.
    """
    command_line = {o.key_or_group: o for o in parsed}
    _refuse_contradictions(command_line, settings)
    from_file = [f"{key}={value}" for key, value in params.items() if key not in command_line]
    arms = [_arm(name, texts, command_line) for name, texts in settings.arms.items()] or [[]]
    swept = [*parsed, *overrides.parse(from_file)]
    values.refuse_too_many({"arms": len(arms), "seeds": len(seeds) if "seed" not in command_line else 1}, swept)
    numbers = [[f"seed={seed}"] for seed in seeds if "seed" not in command_line] or [[]]
    common = [*_metric(settings.metric, command_line), *_budget(settings.budget, command_line)]
    for arm, job, seed in itertools.product(arms, combinations(swept), numbers):
        yield [*job, *common, *arm, *seed]


def combinations(parsed: Sequence[Override]) -> Iterator[list[str]]:
    """The Cartesian product of the swept values."""
    choices = [
        [f"{o.key_or_group}={value}" for value in values.of(o)] if o.is_sweep_override() else [str(o.input_line)]
        for o in parsed
    ]
    return (list(job) for job in itertools.product(*choices))


def _arm(name: str, texts: Sequence[str], command_line: Mapping[str, Override]) -> list[str]:
    """The arm's overrides without those that the command line replaces."""
    remaining = [str(o.input_line) for o in overrides.parse(texts) if o.key_or_group not in command_line]
    return [*remaining, f"arm={name}"]


def _metric(metric: str, command_line: Mapping[str, Override]) -> list[str]:
    """Every run records what decides, so that the comparison proves that it is one metric."""
    return [f"evaluation.metric={metric}"] if metric and "evaluation.metric" not in command_line else []


def _budget(budget: Budget, command_line: Mapping[str, Override]) -> list[str]:
    limits = {f"train.budget.{name}": value for name, value in vars(budget).items() if value is not None}
    return [f"{key}={value}" for key, value in limits.items() if key not in command_line]


def _refuse_contradictions(command_line: Mapping[str, Override], settings: StudySettings) -> None:
    for name, texts in settings.arms.items():
        check_arm(name)
        if wrong := shapes.problem(texts, list[str]):
            raise ConfigError(f"arms.{name}: {wrong}, for example arms.{name}=[algo=rloo]")
        for override in overrides.parse(texts):
            group = override.key_or_group
            if override.is_sweep_override():
                raise ConfigError(
                    f"arms.{name}: {override.input_line} holds several values, and an arm has one of each. "
                    "Write an arm for each value"
                )
            if overrides.selects_option(override) and group in command_line:
                raise ConfigError(
                    f"{command_line[group].input_line}: the sweep file sets {group} in its arms "
                    f"({', '.join(settings.arms)}). Add an arm there, or sweep without the file: -m {group}=..."
                )


def _concerns_study(text: str) -> bool:
    """All overrides but those of a run's own fields, which may be valid only for the arm that they belong to."""
    key = text.lstrip("+~").split("=")[0].split(".")[0]
    return key in (*STUDY_KEYS, "sweeps", "hydra") or key.startswith("hydra/")
