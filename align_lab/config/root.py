"""The root of the config: the fields of a run that belong to no group, and the fields of a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from align_lab.base import contrast, vary
from align_lab.base.hyperparameters import Budget
from align_lab.base.registry import param, section
from align_lab.base.seed_plan import WORDS
from align_lab.base.settings import Evaluation, Preferences, Sampling
from align_lab.base.tuning_plan import WORDS as TUNING


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The fields of a run outside the groups."""

    study: str = param("quickstart", "folder under runs/ for this run and those it is compared with")
    seed: int = param(0, "seed of the policy's training; stages have their own", low=0)
    vary: list[str] = param(
        [vary.RL],
        "what the seed moves: rl, and where they are named the builds of pairs, reward and policy (docs/seeds.md)",
    )
    arm: str = param("", "the arm's name, where a sweep file gives it one")
    hang_minutes: float = param(30.0, "a run that makes no progress for so long dumps stack traces and exits", above=0)
    plugins: list[str] = param(
        [], "modules outside the package whose components join the registry", trust="these modules are imported"
    )
    sampling: Sampling = section(Sampling, "how completions are drawn")
    evaluation: Evaluation = section(Evaluation, "how every arm is evaluated")
    preferences: Preferences = section(Preferences, "the preference set, where an algorithm needs one")


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What a command does with its runs: these fields are not part of a run's config."""

    question: str = param("", "what the study is to answer")
    arms: dict[str, list[str]] = param({}, "name of an arm -> its overrides, for example rloo: [algo=rloo]")
    factors: Any = param(
        None,
        "choices whose combinations are the arms, in place of arms: {algo.kl: [none, k2_loss], NAME: {LEVEL: [...]}}",
    )
    design: str = param(
        "full",
        "which combinations of factors: full, all; fraction, an orthogonal array for their main effects; interactions, "
        "one for those of two factors as well",
        choices=("full", "fraction", "interactions"),
    )
    control: str = param(
        "", "the arm that every other one is compared with, as in an ablation; empty: every arm with every other"
    )
    metric: str = param("", "what decides: evaluation.metric of every run; empty: as the runs say")
    smallest: float | None = param(
        None,
        "the smallest gap that matters, in units of the metric that decides; null: no arms are called equal",
        above=0,
    )
    contrasts: Any = param(
        None, f"the only questions: {contrast.WORDS}; intervals are corrected for these; null: every pair"
    )
    paired: bool | None = param(
        None,
        "do verdicts compare arms seed by seed? null: where vary also names pairs, reward or policy, which the arms of "
        "a seed share",
    )
    claims: list[str] = param(
        [], "what a paper says of two arms, each to be decided: 'rloo > ppo', 'a < b in eval/kl', 'a > b at equal kl'"
    )
    tune: Any = param(None, f"equal tuning before the study, charged to every arm: {TUNING}")
    seeds: Any = param(None, f"seeds of every arm: {WORDS}")
    budget: Budget = section(Budget, "the same for every arm: episodes, tokens or seconds (train.budget)")
    parallel: int = param(1, "runs of a sweep at the same time on this machine", low=1)
    wait: bool | None = param(None, "wait until all runs have ended; null: true on this machine, false on a cluster")
    dry_run: bool = param(False, "print the plan and submit nothing")


STUDY_KEYS = tuple(StudySettings.__dataclass_fields__)
FREE = tuple(name for name, spec in StudySettings.__dataclass_fields__.items() if spec.type == "Any")  # of any form
