"""Evaluation of a policy on fixed held-out prompts with a fixed seed: scores, KL, length, diversity of completions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from align_lab.base.settings import Evaluation, Sampling
from align_lab.base.world import World
from align_lab.models.language_model import LanguageModel
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import Sampler, uniforms
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.train.learner import Learner
from align_lab.train.scoring import LimitedScorer
from align_lab.train.update import left_padding

ROWS = 128  # completions per forward pass


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Evaluates any policy on the same prompts with the same random numbers."""

    sets: Mapping[str, Prompts]  # by name; the deciding metric is that of the first one
    reward: LimitedScorer  # what the policy is trained on
    judges: Mapping[str, LimitedScorer]  # never optimized
    sampling: Sampling
    plan: Evaluation
    reference: Callable[[], LanguageModel]  # loaded for each evaluation and freed after it: training may not need it
    sampler: Sampler = field(default_factory=TorchSampler)
    world: World = World()

    def __call__(self, policy: Learner, *, step: int, start: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
        """Returns one row per completion. Processes share the prompts, and every process gets all rows.

        `start`: the start policy's rows; `win` is 1 where the deciding score is higher than there, ½ for a tie.
        """
        reference = self.reference()
        completed = {name: self._complete_set(policy, reference, name) for name in self.sets}
        self.sampler.release_device()  # before rewards and judges, which may need its memory
        rows = [row for name, local in completed.items() for row in self._rows(name, local, step)]
        for row, before in zip(rows, start or rows, strict=True):
            row["win"] = win(row[self.plan.decides], before[self.plan.decides])
        return rows

    def prompt_count(self, name: str) -> int:
        """How many prompts of a set are evaluated."""
        return min(self.plan.prompts, len(self.sets[name]))

    def _complete_set(self, policy: Learner, reference: LanguageModel, name: str) -> list[list[dict[str, Any]]]:
        """This process' rows of one set, batch by batch."""
        size = max(1, ROWS // self.plan.samples)
        batches = local_batches(self.prompt_count(name), self.world, size)
        return [self._complete(policy, reference, self.sets[name], batch) for batch in batches]

    def _rows(self, name: str, local: list[list[dict[str, Any]]], step: int) -> list[dict[str, Any]]:
        """The scored rows of one set, over all processes."""
        self._score([row for batch in local for row in batch], self.sets[name])
        set_column = {"set": name} if len(self.sets) > 1 else {}
        return [{"step": step, **set_column, **row} for row in self._in_order(local)]

    def _score(self, rows: Sequence[dict[str, Any]], prompts: Prompts) -> None:
        """Add the scores of the reward (with the penalty for truncated completions) and of every judge to the rows.

        A score is None where the scorer abstained, or failed for the reason that `failures` holds.
        """
        examples = [prompts.examples[row["index"]] for row in rows]
        completions = [row["completion"] for row in rows]
        for name, scorer in {"score": self.reward, **self.judges}.items():
            checked = scorer(examples, completions, self.world)
            for position, (row, value) in enumerate(zip(rows, checked.values, strict=True)):
                penalty = self.sampling.missing_eos_penalty * (name == "score" and not row["ended"])
                row[name] = None if value is None else value - penalty
                if position in checked.failures:
                    row.setdefault("failures", {})[name] = checked.failures[position]

    def _in_order(self, local: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """The rows of all processes in the order of the prompts; a prompt that two processes completed counts once."""
        batches, count = self.world.concatenate(local), len(local)
        rows = [row for number in range(count) for batch in batches[number::count] for row in batch]
        return list({(row["index"], row.get("sample", 0)): row for row in rows}.values())

    @torch.no_grad()
    def _complete(
        self, policy: Learner, reference: LanguageModel, prompts: Prompts, indices: Sequence[int]
    ) -> list[dict[str, Any]]:
        """Sample and measure the completions of these prompts: one row each, still without scores."""
        ids, pad = prompts.batch(indices, repeat=self.plan.samples)
        random_numbers = uniforms(self.plan.seed, 0, indices, self.plan.samples, self.sampling.max_new_tokens)
        samples = self.sampler(
            policy,
            ids,
            left_padding(pad),
            uniforms=random_numbers,
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            eos=prompts.eos,
        )
        whole, temperature = torch.cat([ids, samples.tokens], 1), self.sampling.temperature
        ref = reference(whole, left_padding(pad), samples.mask, temperature=temperature)
        logp, entropy = policy.policy(whole, left_padding(pad), samples.mask, temperature=temperature, entropy=True)
        kl = ((samples.logp if self.sampler.exact else logp) - ref).sum(1)
        keys = [(index, number) for index in indices for number in range(self.plan.samples)]
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
            for (index, number), text, ended, mask, k, h in zip(keys, *columns, strict=True)
        ]


def local_batches(count: int, world: World, size: int) -> Iterator[list[int]]:
    """This process's batches of prompt indices, at most `size` each.

    All processes have the same number of batches and none is empty, so that all make the same number of forward passes.
    """
    for batch in torch.arange(count).split(size * world.size):
        yield (world.shard(batch) if len(batch) >= world.size else batch[[world.rank % len(batch)]]).tolist()


def summary(rows: Sequence[Mapping[str, Any]], *, judges: Iterable[str], decides: str) -> dict[str, float]:
    """The `eval/` metrics of an evaluation's rows; those of every set after the first are named `eval/SET/...`."""
    by_set: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_set.setdefault(row.get("set", ""), []).append(row)
    names = ["score", *judges]
    metrics: dict[str, float] = {}
    for number, (name, members) in enumerate(by_set.items()):
        prefix = f"eval/{name}/" if number else "eval/"
        metrics |= {f"{prefix}{key}": value for key, value in _set_metrics(members, names, decides).items()}
    return metrics


def _set_metrics(rows: Sequence[Mapping[str, Any]], score_columns: Sequence[str], decides: str) -> dict[str, float]:
    """Means over the rows that have a value; diversity of the texts; standard error of the deciding score."""
    mean = {name: mean_of(rows, name) for name in (*score_columns, "kl", "length", "ended", "win", "entropy_sum")}
    texts = [row["completion"] for row in rows]
    metrics = {
        **{name: mean[name] for name in score_columns},
        "kl": mean["kl"],
        "win_rate": mean["win"],
        "length": mean["length"],
        "ended": mean["ended"],
        "entropy": (mean["entropy_sum"] or 0.0) / max(mean["length"] or 0.0, 1e-9),
        "distinct_2": distinct(texts, n=2),
        "repetition": repetition(texts),
        f"{decides}_se": standard_error(by_prompt(rows, decides)) if mean[decides] is not None else None,
        **_without_score(rows, score_columns),
    }
    return {name: value for name, value in metrics.items() if value is not None}


def _without_score(rows: Sequence[Mapping[str, Any]], score_columns: Sequence[str]) -> dict[str, float]:
    """The shares of completions without a score: `NAME_failed` and `NAME_abstained`, where there are any."""
    shares: dict[str, float] = {}
    for name in score_columns:
        failed = sum(name in row.get("failures", ()) for row in rows)
        without = sum(row[name] is None for row in rows)
        for what, count in (("failed", failed), ("abstained", without - failed)):
            if count:
                shares[f"{name}_{what}"] = count / len(rows)
    return shares


def mean_of(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """The mean of a column over the rows that have a value; None if none has."""
    values = [row[name] for row in rows if row[name] is not None]
    return math.fsum(values) / len(values) if values else None


def win(score: float | None, before: float | None) -> float | None:
    """1 for the higher score, ½ for a tie, None where one of them is missing."""
    if score is None or before is None:
        return None
    return 0.5 if score == before else float(score > before)


def by_prompt(rows: Sequence[Mapping[str, Any]], name: str) -> Tensor:
    """Each prompt's mean of a column, because the completions of one prompt are not independent draws.

    Rows without a value are left out.
    """
    values: dict[int, list[float]] = {}
    for row in rows:
        if row[name] is not None:
            values.setdefault(row["index"], []).append(row[name])
    return torch.tensor([math.fsum(group) / len(group) for group in values.values()], dtype=torch.float64)


def standard_error(values: Tensor) -> float:
    """Standard error of the mean; 0 for a single value."""
    return float(values.std() / len(values) ** 0.5) if len(values) > 1 else 0.0


def distinct(texts: Sequence[str], *, n: int) -> float:
    """Distinct word n-grams of all texts over all their n-grams (arXiv 1510.03055); 0 where there are none."""
    grams = [tuple(words[i : i + n]) for words in map(str.split, texts) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repetition(texts: Sequence[str]) -> float:
    """Share of words that repeat one of the four words before them; 0 where there are no words."""
    repeats = [word in words[max(0, i - 4) : i] for words in map(str.split, texts) for i, word in enumerate(words)]
    return sum(repeats) / len(repeats) if repeats else 0.0
