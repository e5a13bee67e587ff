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
        1.0,
        "nucleus sampling: sample from the smallest set of tokens with this probability mass; below 1 gradient and KL "
        "are biased, because log-probabilities are of the full distribution",
        above=0,
        high=1,
    )
    max_new_tokens: int = param(40, "maximum length of a completion, in tokens", low=1)
    importance_cap: float | None = param(
        None,
        "where sampler and trainer disagree: each token's advantage times min(p_trainer / p_sampler, cap); "
        "null: not corrected",
        above=0,
    )
    staleness: int = param(
        0,
        "steps between the weights that sample a step's completions and those that learn from them; 1: they are "
        "sampled during the update before, if vLLM has a process of its own; importance_cap corrects for their age",
        low=0,
        high=1,
    )
    missing_eos_penalty: float = param(
        1.0, "subtracted from the score of a completion without an end-of-sequence token", low=0
    )

    @property
    def caution(self) -> str:
        """What is to be known of training with these settings; empty where there is nothing."""
        if self.top_p >= 1:
            return ""
        return (
            f"sampling.top_p={self.top_p:g}: completions are sampled from a truncated distribution, and "
            "log-probabilities are of the full one, so the gradient and the KL are biased. sampling.top_p=1 avoids that"
        )


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the completions of an evaluation are sampled. Temperature 0 is greedy decoding."""

    temperature: float
    top_p: float
    max_new_tokens: int


@checked
@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How every arm is evaluated: held-out prompts, decoding, judges, and the metric that decides."""

    prompts: int = param(384, "maximum number of held-out prompts per evaluation set", low=1)
    development: int = param(
        128,
        "maximum number of prompts of the data's development set, whose mean score says which checkpoint is the best; "
        "0: the evaluation decides that",
        low=0,
    )
    samples: int = param(1, "completions per prompt", low=1)
    pass_at: list[int] = param(
        [], "k of pass@k and maj@k, for example [1,4]; the deciding score must be 1 (correct) or 0. empty: not measured"
    )
    temperature: float | None = param(
        None, "temperature of the evaluated completions; 0: greedy. null: that of training, which KL always has", low=0
    )
    top_p: float | None = param(None, "nucleus of the evaluated completions; null: that of training", above=0, high=1)
    max_new_tokens: int | None = param(
        None, "maximum length of an evaluated completion, in tokens; null: that of training", low=1
    )
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

    def decoding(self, sampling: Sampling) -> Decoding:
        """How evaluated completions are sampled; what is not set is as in training."""
        return Decoding(
            temperature=sampling.temperature if self.temperature is None else self.temperature,
            top_p=self.top_p or sampling.top_p,
            max_new_tokens=self.max_new_tokens or sampling.max_new_tokens,
        )


@checked
@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Preferences for algorithms that learn from them: where they come from, and how many there are."""

    source: str = param(
        "reward",
        "reward: completions of the start policy that the reward labels; data: the preferences that come with the data",
        choices=("reward", "data"),
    )
    pairs: int | None = param(
        1920,
        "number of pairs; source=data: at most as many, or twice as many single completions, drawn by `seed`; null: "
        "all that the data has",
        low=1,
    )
    samples: int = param(2, "source=reward: completions per prompt, of which the best and the worst form a pair", low=2)
    temperature: float | None = param(
        None,
        "softmax temperature of the log-probabilities of pairs, for algorithms that learn from pairs alone; null: that "
        "of sampling",
        above=0,
    )
    too_long: str = param(
        "drop",
        "source=data: what becomes of a pair with a completion longer than sampling.max_new_tokens; truncate: the "
        "completion loses its end and its end-of-sequence token",
        choices=("drop", "truncate"),
    )
    seed: int = param(10_000, "sampling seed of the pairs; runs with different `seed` share one set", low=0)
