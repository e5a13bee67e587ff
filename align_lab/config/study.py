"""A study: the runs that one command asks for, by swept values (`-m algo=a,b seed=1,2`) or a file under sweeps/."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.override_parser.types import Override

from align_lab.base import claim
from align_lab.base.errors import ConfigError, near
from align_lab.base.hyperparameters import Budget
from align_lab.base.metrics import of_run as metrics_of_run
from align_lab.base.run_config import RunConfig
from align_lab.base.seed_plan import WORDS, SeedPlan, seed_plan
from align_lab.base.tuning_plan import WORDS as TUNING
from align_lab.base.tuning_plan import TuningPlan, tuning_plan
from align_lab.config import composition, overrides
from align_lab.config.composition import Composer
from align_lab.config.root import STUDY_KEYS, StudySettings


@dataclass(frozen=True, kw_only=True)
class Study:
    """Checked runs under one name. Each run is in it once; `duplicates` names those that the command repeats."""

    name: str
    sweep: str | None  # the sweep file that declares it
    settings: StudySettings
    runs: tuple[RunConfig, ...]
    complete: bool = True  # all arms and seeds of the sweep file, not a selection of them
    seed_plan: SeedPlan | None = None  # seeds in steps: `runs` are all that it may come to
    tuning: TuningPlan | None = None  # `runs` have the recipes that the tuning begins with
    jobs: tuple[tuple[str, ...], ...] = ()  # where it is tuned: the overrides of each run
    duplicates: tuple[str, ...] = ()


def read(texts: Sequence[str], *, multirun: bool = True) -> Study:
    """Every run that the overrides ask for, composed and checked. Raises ConfigError with every mistake.

    Without `multirun` it is one run, and several values of a key are an error.
    """
    parsed = overrides.parse(texts)
    composition.load_components(parsed)
    composer = Composer()
    sweep = next((str(o.value()) for o in parsed if o.key_or_group == "sweeps"), None)
    fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
    settings = composer.study([text for text in fixed if _concerns_study(text)])
    if not multirun:
        return from_runs([composer.run(texts)], settings=settings)
    plan, seeds = _seeds(settings.seeds)
    selected = any(o.key_or_group == "seed" for o in parsed)
    jobs = list(expand(parsed, settings, seeds, composition.sweeper_params(fixed) if sweep else {}))
    complete = not selected and not any(o.is_sweep_override() or o.key_or_group == "algo" for o in parsed)
    runs = composer.runs(jobs)
    study = from_runs(runs, settings=settings, sweep=sweep, complete=complete)
    _check_claims(study, plan)
    tuning = _tuning(settings.tune, {run.seed for run in runs})
    return dataclasses.replace(
        study,
        seed_plan=None if selected else plan,
        tuning=tuning,
        jobs=tuple(map(tuple, jobs)) if tuning else (),
    )


def _tuning(value: Any, seeds: set[int]) -> TuningPlan | None:
    """Raises ConfigError with what is allowed."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ConfigError(f"tune={value}: it must be {TUNING}")
    return tuning_plan(cast(Mapping[str, Any], value), seeds=seeds)


def _check_claims(study: Study, plan: SeedPlan | None) -> None:
    """Raises ConfigError for a claim that this study could not decide."""
    claims = [claim.read(text) for text in study.settings.claims]
    if claims and plan:
        raise ConfigError("claims need a fixed number of seeds: they are not part of the looks. Type seeds=[0,1,2,3,4]")
    arms = {*study.settings.arms, *(run["arm"] or run.choices["algo"] for run in study.runs)}
    metrics = metrics_of_run(study.runs[0].values) if any(one.metric for one in claims) else {}
    for one in claims:
        claim.check(one, arms, [name for name in metrics if name.startswith("eval/")])


def _seeds(value: Any) -> tuple[SeedPlan | None, Sequence[int]]:
    """The plan, where seeds come in steps, and all seeds of an arm. Raises ConfigError with what is allowed."""
    if isinstance(value, Mapping):
        plan = seed_plan(cast(Mapping[str, Any], value))
        return plan, range(plan.most)
    seeds = cast(list[Any], [] if value is None else value if isinstance(value, list) else [value])
    if any(isinstance(seed, bool) or not isinstance(seed, int) for seed in seeds):
        raise ConfigError(f"seeds={value}: it must be {WORDS}")
    return None, seeds


def from_runs(
    runs: Iterable[RunConfig], *, settings: StudySettings, sweep: str | None = None, complete: bool = True
) -> Study:
    """Raises ConfigError when the runs belong to several studies."""
    unique: dict[str, RunConfig] = {}
    duplicates: list[str] = []
    for run in runs:
        duplicates += [run.name] if run.name in unique else []
        unique.setdefault(run.name, run)
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
    numbers = [[f"seed={seed}"] for seed in seeds if "seed" not in command_line] or [[]]
    budget = _budget(settings.budget, command_line)
    for arm, job, seed in itertools.product(arms, combinations([*parsed, *overrides.parse(from_file)]), numbers):
        yield [*job, *budget, *arm, *seed]


def combinations(parsed: Sequence[Override]) -> Iterator[list[str]]:
    """The Cartesian product of the swept values."""
    choices = [
        [f"{o.key_or_group}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [str(o.input_line)]
        for o in parsed
    ]
    return (list(job) for job in itertools.product(*choices))


def _arm(name: str, texts: Sequence[str], command_line: Mapping[str, Override]) -> list[str]:
    """The arm's overrides without those that the command line replaces."""
    remaining = [str(o.input_line) for o in overrides.parse(texts) if o.key_or_group not in command_line]
    return [*remaining, f"arm={name}"]


def _budget(budget: Budget, command_line: Mapping[str, Override]) -> list[str]:
    limits = {f"train.budget.{name}": value for name, value in vars(budget).items() if value is not None}
    return [f"{key}={value}" for key, value in limits.items() if key not in command_line]


def _refuse_contradictions(command_line: Mapping[str, Override], settings: StudySettings) -> None:
    if settings.control and settings.arms and settings.control not in settings.arms:
        raise ConfigError(f"control={settings.control} is none of the arms. {near(settings.control, settings.arms)}")
    for name, texts in settings.arms.items():
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
