"""What a tuned study searches: its plan, its arms, and the space of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from align_lab.base.errors import ConfigError
from align_lab.base.paths import runs_folder
from align_lab.base.run_config import RunConfig
from align_lab.base.task import DEVELOPMENT
from align_lab.base.tuning_plan import TuningPlan
from align_lab.config.study import Study
from align_lab.record.layout import StudyLayout
from align_lab.studies import search
from align_lab.studies.search import Space
from align_lab.studies.trials import Arm, arms_of


@dataclass(frozen=True, kw_only=True)
class Search:
    """A study, its plan, and its arms with their spaces."""

    study: Study
    plan: TuningPlan
    arms: Mapping[str, Arm]
    spaces: Mapping[str, Space]
    console: Console
    unattended: bool = False  # a job of the cluster goes on with it, and submits no failed trial again
    composed: dict[tuple[str, ...], RunConfig] = field(default_factory=dict[tuple[str, ...], RunConfig])  # by overrides

    @property
    def folder(self) -> Path:
        """Of the study; the trials are in a study of their own beside it."""
        return runs_folder() / self.study.name

    @property
    def trials_folder(self) -> Path:
        """Of the study of the trials."""
        return StudyLayout(self.folder).trials

    @property
    def metric(self) -> str:
        """What decides."""
        return next(iter(self.arms.values())).recipe.evaluation.metric

    @property
    def prompts(self) -> int | None:
        """Of the development set, which judge the trials; None where that is not known yet."""
        recipe = next(iter(self.arms.values())).recipe
        size = recipe.data.size(DEVELOPMENT)
        return None if size is None else min(size, recipe.evaluation.prompts)


def of(study: Study, console: Console, *, unattended: bool = False) -> Search:
    """The search that a study asks for. Raises ConfigError for a plan that these arms cannot follow."""
    plan, arms = study.tuning, arms_of(study)
    assert plan is not None
    if unknown := sorted(set(plan.spaces) - set(arms)):
        raise ConfigError(f"tune.space.{unknown[0]}: there is no such arm, only {', '.join(arms)}")
    if plan.prune and plan.sampler != "sobol":
        raise ConfigError(f"tune.prune={plan.prune} goes with tune.sampler=sobol: its points do not depend on results")
    amounts = [
        f"tune.space.{arm}.{name}" for arm, each in plan.spaces.items() for name in each if name in search.AMOUNTS
    ]
    if plan.prune and amounts:
        raise ConfigError(
            f"{amounts[0]} changes how many completions a step has, and tune.prune={plan.prune} cuts steps: trials of "
            "a rung would get unequal shares. Set tune.prune=false, or leave the field out"
        )
    if metrics := sorted({arm.recipe.evaluation.metric for arm in arms.values()})[1:]:
        raise ConfigError(f"the arms are judged by several metrics ({', '.join(metrics)} and another): set one")
    spaces = {
        name: search.space_of(name, arm.recipe, written=plan.spaces.get(name), fixed=arm.fixed)
        for name, arm in arms.items()
    }
    return Search(study=study, plan=plan, arms=arms, spaces=spaces, console=console, unattended=unattended)
