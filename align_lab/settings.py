"""What belongs to no group: the study and the seed, how completions are drawn, what every arm is judged on; and a study's plan."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.registry import checked, param, section
from align_lab.train.recipe import Budget


@checked
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are drawn, in training and in evaluation, and the one rule for completions without an end."""

    temperature: float = param(0.7, "softmax temperature, in the sampler and in every log-probability", above=0)
    top_p: float = param(1.0, "nucleus: the smallest set of tokens with this mass is kept", above=0, high=1)
    max_new_tokens: int = param(40, "longest completion, in tokens", low=1)
    importance_cap: float | None = param(
        None,
        "where sampler and trainer disagree: each token's advantage times min(p_trainer / p_sampler, cap); null: not corrected",
        above=0,
    )
    missing_eos_penalty: float = param(1.0, "subtracted from the score of a completion that was cut off", low=0)


@checked
@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The held-out prompts and the seed that every arm is judged on."""

    prompts: int = param(384, "fixed held-out prompts", low=1)
    every: int = param(20, "steps between evaluations; the start and the end are always evaluated", low=1)
    seed: int = param(20_000, "sampling seed of every evaluation", low=0)


@checked
@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Pairs for algorithms that do not sample: made before training from the start policy, labelled by the reward."""

    pairs: int = param(1920, "pairs in the set", low=1)
    samples: int = param(2, "completions of a prompt, of which the best and the worst make a pair", low=2)
    seed: int = param(10_000, "sampling seed of the set; five policy seeds share one", low=0)


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
