"""How completions are sampled, how every arm is evaluated, and how preference pairs are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from align_lab.base.registry import checked, param


@checked
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are sampled, in training and in evaluation, and the penalty for truncated completions."""

    temperature: float = param(0.7, "softmax temperature, in the sampler and in every log-probability", above=0)
    top_p: float = param(
        1.0, "nucleus sampling: sample from the smallest set of tokens with this probability mass", above=0, high=1
    )
    max_new_tokens: int = param(40, "maximum length of a completion, in tokens", low=1)
    importance_cap: float | None = param(
        None,
        "where sampler and trainer disagree: each token's advantage times min(p_trainer / p_sampler, cap); "
        "null: not corrected",
        above=0,
    )
    missing_eos_penalty: float = param(
        1.0, "subtracted from the score of a completion without an end-of-sequence token", low=0
    )


@checked
@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How every arm is evaluated: held-out prompts, judges, and the metric that decides."""

    prompts: int = param(384, "maximum number of held-out prompts per evaluation set", low=1)
    samples: int = param(1, "completions per prompt", low=1)
    every: int = param(20, "steps between evaluations; the start and the end are always evaluated", low=1)
    seed: int = param(20_000, "sampling seed of every evaluation", low=0)
    sets: list[str] = param([], "evaluation sets of the data; the first one decides. empty: all sets that the data has")
    judges: dict[str, Any] = param(
        {}, "name -> reward component that is never optimized, for example {brevity: {name: my_reward}}"
    )
    metric: str = param("eval/score", "the metric that decides a comparison: eval/score, or eval/NAME of a judge")

    @property
    def decides(self) -> str:
        """The deciding column of an evaluation's rows: `score`, or a judge's name."""
        return self.metric.removeprefix("eval/")


@checked
@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Preference pairs for algorithms that do not sample: the start policy's completions, labelled by the reward."""

    pairs: int = param(1920, "number of pairs", low=1)
    samples: int = param(2, "completions per prompt, of which the best and the worst form a pair", low=2)
    seed: int = param(10_000, "sampling seed of the pairs; runs with different `seed` share one set", low=0)
