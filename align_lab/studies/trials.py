"""The trials of a tuning as runs: how they are composed, and what their records say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from align_lab.base.errors import ConfigError
from align_lab.base.files import read_lines
from align_lab.base.run_config import RunConfig
from align_lab.base.task import DEVELOPMENT
from align_lab.compare import reading
from align_lab.compare.runs import Run, Unfinished
from align_lab.compare.tuning.record import COSTS, Trial
from align_lab.config import overrides as parsing
from align_lab.config.composition import Composer
from align_lab.config.study import Study
from align_lab.record.layout import TUNING, RunLayout
from align_lab.studies.search import Point, overrides

UNSCORED = "unscored"
WITHOUT_SCORE = ("diverged", UNSCORED)  # a run in this state has ended, and what it was tried for is the reason


@dataclass(frozen=True, kw_only=True)
class Arm:
    """An arm that is tuned: its overrides without a seed, and the recipe that they give."""

    name: str
    job: tuple[str, ...]
    recipe: RunConfig

    @property
    def fixed(self) -> set[str]:
        """The fields that the arm or the command line sets."""
        return {str(one.key_or_group) for one in parsing.parse(self.job)}

    @property
    def steps(self) -> int:
        """Steps of a run of the recipe, by its own limit or its budget of episodes."""
        return self.recipe.train.last_step

    def trial(self, point: Point, *, number: int, seed: int, steps: int) -> list[str]:
        """The overrides of a run that tries a point: it is judged on the development set alone."""
        shorter = [f"train.steps={steps}"] if steps < self.steps else []
        study = f"{self.recipe.study}{TUNING}"
        return [
            *self.job,
            *overrides(point),
            *shorter,
            *self._judged_on_development(),
            f"study={study}",
            f"arm={self.name}_{number:02d}",
            f"seed={seed}",
        ]

    def _judged_on_development(self) -> list[str]:
        """The development set alone, with as many prompts as it has."""
        size, prompts = self.recipe.data.size(DEVELOPMENT), self.recipe.evaluation.prompts
        fewer = [f"evaluation.prompts={size}"] if size is not None and size < prompts else []
        return [f"evaluation.sets=[{DEVELOPMENT}]", *fewer]

    def tuned(self, point: Mapping[str, Any]) -> list[str]:
        """The overrides of the recipe that was found, without a seed; the development set is evaluated beside."""
        sets = [*self.recipe.data.evaluation_sets(self.recipe.evaluation.sets), DEVELOPMENT]
        return [*self.job, *overrides(point), f"evaluation.sets=[{','.join(dict.fromkeys(sets))}]"]


def arms_of(study: Study) -> dict[str, Arm]:
    """The arms of a study by name. Raises ConfigError where they cannot be tuned."""
    recipes: dict[str, dict[tuple[str, ...], RunConfig]] = {}
    for job, run in zip(study.jobs, Composer().runs(study.jobs), strict=True):
        without_seed = tuple(text for text in job if not text.startswith("seed="))
        recipes.setdefault(run["arm"] or run.choices["algo"], {}).setdefault(without_seed, run)
    for name, each in recipes.items():
        if len(each) > 1:
            raise ConfigError(
                f"{name} has {len(each)} recipes, and an arm is tuned as one. Give every combination of swept values "
                "an arm of its own in a sweep file: arms: {NAME: [algo=..., ...]}"
            )
    arms = {name: Arm(name=name, job=job, recipe=run) for name, each in recipes.items() for job, run in each.items()}
    for arm in arms.values():
        if not arm.recipe.data.has_development():
            raise ConfigError(
                f"tune: data={arm.recipe['data']['name']} has no development set, and the evaluation sets take no part "
                "in tuning. Hold some prompts out: data.development_share=0.1 (data=files), or data.development=N"
            )
    return arms


def as_study(study: Study, runs: Sequence[RunConfig], *, complete: bool = False) -> Study:
    """These runs as a study like `study`, under the name that they give."""
    unique = {run.name: run for run in runs}
    return replace(study, name=runs[0].study, runs=tuple(unique.values()), complete=complete, tuning=None, jobs=())


def outcome(folder: Path, runs: Sequence[RunConfig], point: Point, steps: int, metric: str) -> Trial | None:
    """What the runs of a trial say, one for each seed; None as long as one has not ended, or failed otherwise."""
    places = [folder / run.name for run in runs]
    if not all(place.is_dir() for place in places):
        return None
    read = reading.all_of([str(place) for place in places])
    if any(isinstance(one, Unfinished) and one.state not in WITHOUT_SCORE for one in read):
        return None
    scores = tuple(one.final.get(metric) if isinstance(one, Run) else None for one in read)
    spent: Counter[str] = Counter()
    for one, place in zip(read, places, strict=True):
        spent.update(one.spent if isinstance(one, Run) else _until_the_end(place))
    return Trial(point=point, scores=scores, spent={name: float(spent[name]) for name in COSTS}, steps=steps)


def why_failed(folder: Path, runs: Sequence[RunConfig]) -> str:
    """Why a run of a trial failed, other than by its score; empty where none did."""
    there = [str(folder / run.name) for run in runs if (folder / run.name).is_dir()]
    failed = (one for one in reading.all_of(there) if isinstance(one, Unfinished) and one.state == "failed")
    return next((one.why for one in failed), "")


def without_score(folder: Path, arm: str) -> list[Unfinished]:
    """The runs of an arm's trials that ended without a score, as far as they are still there."""
    every = reading.all_of([str(place) for place in sorted(folder.glob("[!.]*")) if place.is_dir()])
    ended = [one for one in every if isinstance(one, Unfinished) and one.state in WITHOUT_SCORE]
    return [one for one in ended if one.arm.rpartition("_")[0] == arm]


def _until_the_end(place: Path) -> dict[str, float]:
    """What a run that diverged has spent, by its last row."""
    row = next(iter(reversed(read_lines(RunLayout(place).metrics))), {})
    columns = ("episode", "budget/tokens", "time/elapsed", "budget/flops")
    return {name: row.get(column, 0.0) for name, column in zip(COSTS, columns, strict=True)}
