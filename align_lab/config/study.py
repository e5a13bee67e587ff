"""A study: which runs one command asks for. From swept values (`-m algo=a,b seed=1,2`), or from a file under sweeps/."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import Override

from align_lab.base.errors import ConfigError
from align_lab.base.run_config import RunConfig
from align_lab.config import composition
from align_lab.config.composition import Composer
from align_lab.config.root import StudySettings


@dataclass(frozen=True, kw_only=True)
class Study:
    """Checked runs under one name. Equal runs are in it once; `merged` names those that were asked for again."""

    name: str
    sweep: str | None  # the file that declares it
    settings: StudySettings
    runs: tuple[RunConfig, ...]
    whole: bool = True  # the command asks for all arms and seeds that the file declares
    merged: tuple[str, ...] = ()


def read(overrides: Sequence[str], *, multirun: bool = True) -> Study:
    """Every run that the overrides ask for, composed and checked. Raises ConfigError with all that is wrong.

    Without `multirun` it is one run, and several values of a key are an error.
    """
    parsed = composition.parse(overrides)
    composition.prepare(parsed)
    composer = Composer()
    sweep = next((str(o.value()) for o in parsed if o.key_or_group == "sweeps"), None)
    fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
    settings = composer.study([text for text in fixed if _concerns_study(text)])
    if not multirun:
        return of([composer.run(overrides)], settings=settings)
    jobs = list(expand(parsed, settings, composition.sweeper_params(fixed) if sweep else {}))
    whole = not any(o.is_sweep_override() or o.key_or_group in ("seed", "algo") for o in parsed)
    return of(composer.runs(jobs), settings=settings, sweep=sweep, whole=whole)


def of(runs: Iterable[RunConfig], *, settings: StudySettings, sweep: str | None = None, whole: bool = True) -> Study:
    """Raises ConfigError when the runs are of several studies."""
    unique: dict[str, RunConfig] = {}
    merged = []
    for run in runs:
        merged += [run.name] if run.name in unique else []
        unique.setdefault(run.name, run)
    names = sorted({run["study"] for run in unique.values()})
    if len(names) != 1:
        raise ConfigError(f"one command, one study: study= gives {', '.join(names) or 'none'}. Set study=NAME once")
    return Study(
        name=names[0], sweep=sweep, settings=settings, runs=tuple(unique.values()), merged=tuple(merged), whole=whole
    )


def expand(parsed: Sequence[Override], settings: StudySettings, params: dict[str, str]) -> Iterator[list[str]]:
    """The jobs, each as its overrides: every combination of arms, swept values and seeds. The command line has the last word."""
    given = {o.key_or_group: o for o in parsed}
    _refuse_contradictions(given, settings)
    swept = [*parsed, *composition.parse([f"{key}={value}" for key, value in params.items() if key not in given])]
    arms = [_arm(name, overrides, given) for name, overrides in settings.arms.items()] or [[]]
    limits = {f"train.budget.{name}": value for name, value in vars(settings.budget).items() if value is not None}
    budget = [f"{key}={value}" for key, value in limits.items() if key not in given]
    seeds = [[f"seed={seed}"] for seed in settings.seeds if "seed" not in given] or [[]]
    for arm in arms:
        for job in combinations(swept):
            for seed in seeds:
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


def _arm(name: str, overrides: Sequence[str], given: dict[str, Override]) -> list[str]:
    kept = [str(o.input_line) for o in composition.parse(list(overrides)) if o.key_or_group not in given]
    return [*kept, f"arm={name}"]


def _refuse_contradictions(given: dict[str, Override], settings: StudySettings) -> None:
    for name, overrides in settings.arms.items():
        for override in composition.parse(list(overrides)):
            if override.is_sweep_override():
                raise ConfigError(
                    f"arms.{name}: {override.input_line} holds several values. An arm is one recipe: write an arm for each"
                )
            if composition.is_group(override) and override.key_or_group in given:
                raise ConfigError(
                    f"{given[override.key_or_group].input_line}: the sweep file sets {override.key_or_group} in its arms "
                    f"({', '.join(settings.arms)}). Add an arm there, or sweep without the file: -m "
                    f"{override.key_or_group}=..."
                )


def _concerns_study(text: str) -> bool:
    """Everything but a run's own values: those may only be right for the arm that they are meant for."""
    key = text.lstrip("+~").split("=")[0].split(".")[0]
    return key in (*composition.STUDY_KEYS, "sweeps", "hydra") or key.startswith("hydra/")
