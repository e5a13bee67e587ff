"""A policy on fixed held-out prompts at a fixed seed: what its completions score, cost in KL, and look like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from align_lab.base.settings import Evaluation, Sampling
from align_lab.base.world import World
from align_lab.models.language_model import LanguageModel
from align_lab.rewards.scores import Reward, check
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import Sampler, uniforms
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.train.learner import Learner
from align_lab.train.update import left_padding

ROWS = 128  # completions at a time


@dataclass(frozen=True, kw_only=True)
class Judges:
    """`score` is what the policy is trained on; `gold_score` and `vader` are never optimised."""

    score: Reward
    gold_score: Reward
    vader: Reward


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Judges any policy on the same prompts with the same random numbers."""

    prompts: Prompts
    judges: Judges
    sampling: Sampling
    plan: Evaluation
    reference: Callable[[], LanguageModel]  # read when it is needed and let go: training may not need it
    sampler: Sampler = field(default_factory=TorchSampler)
    world: World = World()

    def __call__(self, policy: Learner, *, step: int, start: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
        """One row a prompt. `start` holds the start policy's rows, against which `win` is counted (a tie is ½).

        Processes share the prompts; every one gets all rows.
        """
        reference = self.reference()
        mine = [self._complete(policy, reference, part, step) for part in shares(self.plan.prompts, self.world)]
        self.sampler.release_device()
        self._judge([row for part in mine for row in part])
        rows = self._in_order(mine)
        for row, before in zip(rows, start or rows, strict=True):
            gap = row["gold_score"] - before["gold_score"]
            row["win"] = 0.5 if gap == 0 else float(gap > 0)
        return rows

    def _judge(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write every judge's score into the rows."""
        asked, texts = [row["prompt"] for row in rows], [row["completion"] for row in rows]
        for name, judge in vars(self.judges).items():
            for row, value in zip(rows, check(judge.score(asked, texts), texts), strict=True):
                row[name] = float(value) - (
                    self.sampling.missing_eos_penalty * (not row["ended"]) if name == "score" else 0
                )

    def _in_order(self, mine: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """The rows of all processes, those of each part of the prompts together; a prompt that two have done counts once."""
        everyone, parts = self.world.concatenate(mine), len(mine)
        rows = [row for number in range(parts) for part in everyone[number::parts] for row in part]
        return list({row["index"]: row for row in rows}.values())

    @torch.no_grad()
    def _complete(
        self, policy: Learner, reference: LanguageModel, prompts: Sequence[int], step: int
    ) -> list[dict[str, Any]]:
        ids, pad = self.prompts.batch(prompts)
        numbers = uniforms(self.plan.seed, 0, prompts, 1, self.sampling.max_new_tokens)
        samples = self.sampler(
            policy,
            ids,
            left_padding(pad),
            uniforms=numbers,
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            eos=self.prompts.eos,
        )
        whole, temperature = torch.cat([ids, samples.tokens], 1), self.sampling.temperature
        ref = reference(whole, left_padding(pad), samples.mask, temperature=temperature)
        logp, entropy = policy.policy(whole, left_padding(pad), samples.mask, temperature=temperature, entropy=True)
        kl = ((samples.logp if self.sampler.exact else logp) - ref).sum(1)
        return [
            {
                "step": step,
                "index": index,
                "prompt": self.prompts.texts[index],
                "completion": text,
                "ended": bool(ended),
                "length": int(mask.sum()),
                "kl": float(k),
                "entropy_sum": float(h),
            }
            for index, text, ended, mask, k, h in zip(
                prompts, self.prompts.completions(samples), samples.ended, samples.mask, kl, entropy.sum(1), strict=True
            )
        ]


def shares(count: int, world: World) -> Iterator[list[int]]:
    """This process' prompts of each part; all have as many parts and none is empty, so all call their models alike."""
    for part in torch.arange(count).split(ROWS * world.size):
        yield (world.shard(part) if len(part) >= world.size else part[[world.rank % len(part)]]).tolist()


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The `eval/` metrics of an evaluation's rows."""
    mean = {
        name: math.fsum(row[name] for row in rows) / len(rows)
        for name in ("score", "gold_score", "vader", "kl", "length", "ended", "win", "entropy_sum")
    }
    texts = [row["completion"] for row in rows]
    spread = torch.tensor([row["gold_score"] for row in rows], dtype=torch.float64)
    return {
        "eval/score": mean["score"],
        "eval/gold_score": mean["gold_score"],
        "eval/vader": mean["vader"],
        "eval/kl": mean["kl"],
        "eval/win_rate": mean["win"],
        "eval/length": mean["length"],
        "eval/ended": mean["ended"],
        "eval/entropy": mean["entropy_sum"] / max(mean["length"], 1e-9),
        "eval/distinct_2": distinct(texts, n=2),
        "eval/repetition": repetition(texts),
        "eval/gold_score_se": standard_error(spread),
    }


def standard_error(values: Tensor) -> float:
    return float(values.std() / len(values) ** 0.5) if len(values) > 1 else 0.0


def distinct(texts: Sequence[str], *, n: int) -> float:
    """Distinct word n-grams of all texts over all their n-grams (arXiv 1510.03055); 0 where there are none."""
    grams = [tuple(words[i : i + n]) for words in map(str.split, texts) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repetition(texts: Sequence[str]) -> float:
    """Share of words that repeat one of the four words before them; 0 where there are no words."""
    repeats = [word in words[max(0, i - 4) : i] for words in map(str.split, texts) for i, word in enumerate(words)]
    return sum(repeats) / len(repeats) if repeats else 0.0
