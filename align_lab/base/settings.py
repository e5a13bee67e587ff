"""How completions are sampled, how every arm is evaluated, and how preference pairs are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from align_lab.base.registry import checked, param


@checked
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are drawn, in training and in evaluation, and the one rule for completions without an end."""

    temperature: float = param(0.7, "softmax temperature, in the sampler and in every log-probability", above=0)
    top_p: float = param(1.0, "nucleus: the smallest set of tokens with this mass is kept", above=0, high=1)
    max_new_tokens: int = param(40, "longest completion, in tokens", low=1)
    importance_cap: float | None = param(
        None,
        "where sampler and trainer disagree: each token's advantage times min(p_trainer / p_sampler, cap); "
        "null: not corrected",
        above=0,
    )
    missing_eos_penalty: float = param(1.0, "subtracted from the score of a completion that was cut off", low=0)


@checked
@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The instrument: on which held-out prompts every arm is judged, by whom, and which metric decides."""

    prompts: int = param(384, "fixed held-out prompts of each set, at most", low=1)
    samples: int = param(1, "completions a prompt", low=1)
    every: int = param(20, "steps between evaluations; the start and the end are always evaluated", low=1)
    seed: int = param(20_000, "sampling seed of every evaluation", low=0)
    sets: list[str] = param([], "evaluation sets of the data, the first one decides; empty: all that the data has")
    judges: dict[str, Any] = param(
        {}, "name -> reward component that is never optimised, for example {brevity: {name: my_reward}}"
    )
    metric: str = param("eval/score", "the metric that decides: eval/score, or eval/NAME of a judge")

    @property
    def decides(self) -> str:
        """The deciding column of an evaluation's rows: `score`, or a judge's name."""
        return self.metric.removeprefix("eval/")


@checked
@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Pairs for algorithms that do not sample: made before training from the start policy, labelled by the reward."""

    pairs: int = param(1920, "pairs in the set", low=1)
    samples: int = param(2, "completions of a prompt, of which the best and the worst make a pair", low=2)
    seed: int = param(10_000, "sampling seed of the set; five policy seeds share one", low=0)
