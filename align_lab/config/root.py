"""The root of the config: the fields of a run that belong to no group, and those of a study."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.hyperparameters import Budget
from align_lab.base.registry import param, section
from align_lab.base.settings import Evaluation, Preferences, Sampling


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The root: what is not a group."""

    study: str = param("quickstart", "folder under runs/ that holds this run and those it is compared with")
    seed: int = param(0, "seed of the policy's training; stages have their own", low=0)
    arm: str = param("", "the arm's name, where a sweep file gives it one")
    hang_minutes: float = param(30.0, "a run that does no step for so long prints its stacks and ends", above=0)
    plugins: list[str] = param([], "modules outside the package whose components join the registry")
    sampling: Sampling = section(Sampling, "how completions are drawn")
    evaluation: Evaluation = section(Evaluation, "what every arm is judged on")
    preferences: Preferences = section(Preferences, "the preference set, where an algorithm needs one")


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What a command does with its runs. A run does not know of these."""

    question: str = param("", "what the study is to answer")
    arms: dict[str, list[str]] = param({}, "name of an arm -> its overrides, for example rloo: [algo=rloo]")
    seeds: list[int] = param([], "seeds of every arm")
    budget: Budget = section(Budget, "the same for every arm: episodes, tokens or seconds (train.budget)")
    parallel: int = param(1, "processes of a sweep on this machine at the same time", low=1)
    wait: bool | None = param(None, "stay until all runs have ended; null: on this machine yes, on a cluster no")
    dry_run: bool = param(False, "print what would be done, and do nothing")
    objective: str = param("eval/score", "metric of a run's last step that other sweepers (Optuna) are told")


STUDY_KEYS = tuple(StudySettings.__dataclass_fields__)
