"""A policy on fixed held-out prompts at a fixed seed: what its completions score, cost in KL, and look like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from align_lab.base.settings import Evaluation, Sampling
from align_lab.base.task import Scorer
from align_lab.base.world import World
from align_lab.models.language_model import LanguageModel
from align_lab.rewards.scores import scores
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import Sampler, uniforms
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.train.learner import Learner
from align_lab.train.update import left_padding

ROWS = 128  # completions at a time


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Judges any policy on the same prompts with the same random numbers."""

    sets: Mapping[str, Prompts]  # by name; the first one decides
    reward: Scorer  # what the policy is trained on
    judges: Mapping[str, Scorer]  # never optimised
    sampling: Sampling
    plan: Evaluation
    reference: Callable[[], LanguageModel]  # loaded when it is needed and released after: training may not need it
    sampler: Sampler = field(default_factory=TorchSampler)
    world: World = World()

    def __call__(self, policy: Learner, *, step: int, start: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
        """One row a completion. `start`: the start policy's rows, against which `win` is counted (a tie is ½).

        Processes share the prompts; every process gets all rows.
        """
        reference = self.reference()
        rows = [row for name in self.sets for row in self._rows(policy, reference, name, step)]
        self.sampler.release_device()
        for row, before in zip(rows, start or rows, strict=True):
            gap = row[self.plan.decides] - before[self.plan.decides]
            row["win"] = 0.5 if gap == 0 else float(gap > 0)
        return rows

    def used(self, name: str) -> int:
        """How many prompts of a set are judged."""
        return min(self.plan.prompts, len(self.sets[name]))

    def _rows(self, policy: Learner, reference: LanguageModel, name: str, step: int) -> list[dict[str, Any]]:
        """The judged rows of one set, over all processes."""
        prompts = self.sets[name]
        size = max(1, ROWS // self.plan.samples)
        parts = shares(self.used(name), self.world, size)
        mine = [self._complete(policy, reference, prompts, part) for part in parts]
        self._judge([row for part in mine for row in part], prompts)
        several = {"set": name} if len(self.sets) > 1 else {}
        return [{"step": step, **several, **row} for row in self._in_order(mine)]

    def _judge(self, rows: Sequence[dict[str, Any]], prompts: Prompts) -> None:
        """Write the reward's score, with the one rule for completions that were cut off, and every judge's into the rows."""
        examples = [prompts.examples[row["index"]] for row in rows]
        completions = [row["completion"] for row in rows]
        for row, value in zip(rows, scores(self.reward, examples, completions), strict=True):
            row["score"] = value - self.sampling.missing_eos_penalty * (not row["ended"])
        for name, judge in self.judges.items():
            for row, value in zip(rows, scores(judge, examples, completions), strict=True):
                row[name] = value

    def _in_order(self, mine: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """The rows of all processes, part by part of the prompts; a prompt that two processes completed counts once."""
        everyone, parts = self.world.concatenate(mine), len(mine)
        rows = [row for number in range(parts) for part in everyone[number::parts] for row in part]
        return list({(row["index"], row.get("sample", 0)): row for row in rows}.values())

    @torch.no_grad()
    def _complete(
        self, policy: Learner, reference: LanguageModel, prompts: Prompts, indices: Sequence[int]
    ) -> list[dict[str, Any]]:
        ids, pad = prompts.batch(indices, repeat=self.plan.samples)
        numbers = uniforms(self.plan.seed, 0, indices, self.plan.samples, self.sampling.max_new_tokens)
        samples = self.sampler(
            policy,
            ids,
            left_padding(pad),
            uniforms=numbers,
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            eos=prompts.eos,
        )
        whole, temperature = torch.cat([ids, samples.tokens], 1), self.sampling.temperature
        ref = reference(whole, left_padding(pad), samples.mask, temperature=temperature)
        logp, entropy = policy.policy(whole, left_padding(pad), samples.mask, temperature=temperature, entropy=True)
        kl = ((samples.logp if self.sampler.exact else logp) - ref).sum(1)
        which = [(index, number) for index in indices for number in range(self.plan.samples)]
        columns = (prompts.completions(samples), samples.ended, samples.mask, kl, entropy.sum(1))
        return [
            {
                "index": index,
                **({"sample": number} if self.plan.samples > 1 else {}),
                "prompt": prompts.examples[index].text,
                "completion": text,
                "ended": bool(ended),
                "length": int(mask.sum()),
                "kl": float(k),
                "entropy_sum": float(h),
            }
            for (index, number), text, ended, mask, k, h in zip(which, *columns, strict=True)
        ]


def shares(count: int, world: World, size: int) -> Iterator[list[int]]:
    """This process' prompts of each part, at most `size`: all processes have equally many parts and none is empty, so
    that all call their models equally often."""
    for part in torch.arange(count).split(size * world.size):
        yield (world.shard(part) if len(part) >= world.size else part[[world.rank % len(part)]]).tolist()


def summary(rows: Sequence[Mapping[str, Any]], *, judges: Iterable[str], decides: str) -> dict[str, float]:
    """The `eval/` metrics of an evaluation's rows: those of the first set, then of each further set as `eval/SET/...`."""
    by_set: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_set.setdefault(row.get("set", ""), []).append(row)
    names = ["score", *judges]
    found: dict[str, float] = {}
    for number, (name, members) in enumerate(by_set.items()):
        prefix = f"eval/{name}/" if number else "eval/"
        found |= {f"{prefix}{key}": value for key, value in _of_set(members, names, decides).items()}
    return found


def _of_set(rows: Sequence[Mapping[str, Any]], scored: Sequence[str], decides: str) -> dict[str, float]:
    """Means over the rows; diversity of the texts; the standard error of the deciding score over prompts."""
    mean = {
        name: math.fsum(row[name] for row in rows) / len(rows)
        for name in (*scored, "kl", "length", "ended", "win", "entropy_sum")
    }
    texts = [row["completion"] for row in rows]
    return {
        **{name: mean[name] for name in scored},
        "kl": mean["kl"],
        "win_rate": mean["win"],
        "length": mean["length"],
        "ended": mean["ended"],
        "entropy": mean["entropy_sum"] / max(mean["length"], 1e-9),
        "distinct_2": distinct(texts, n=2),
        "repetition": repetition(texts),
        f"{decides}_se": standard_error(by_prompt(rows, decides)),
    }


def by_prompt(rows: Sequence[Mapping[str, Any]], name: str) -> Tensor:
    """The mean of a column over the completions of each prompt: completions of one prompt are no independent draws."""
    values: dict[int, list[float]] = {}
    for row in rows:
        values.setdefault(row["index"], []).append(row[name])
    return torch.tensor([math.fsum(group) / len(group) for group in values.values()], dtype=torch.float64)


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
