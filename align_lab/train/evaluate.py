"""Evaluation of a policy on fixed held-out prompts with a fixed seed: scores, KL, length, diversity of completions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from align_lab.base.settings import Evaluation, Sampling
from align_lab.base.task import DEVELOPMENT
from align_lab.base.world import World
from align_lab.models.language_model import LanguageModel
from align_lab.models.row_batches import RowBatches
from align_lab.rewards.scores import CheckedScores
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import Sampler, Samples, Weights, is_exact, uniforms
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.train import pass_at
from align_lab.train.by_length import Sequences
from align_lab.train.experience import left_padding
from align_lab.train.scoring import LimitedScorer

ROWS = 128  # completions that are sampled together, at most


class EvaluatedPolicy(Weights, Protocol):
    """A policy whose completions are sampled and measured: a `Learner`, or one that is not trained any more."""

    @property
    def policy(self) -> LanguageModel:
        """The model that computes log-probabilities. All processes call it together."""
        ...

    @property
    def sharded(self) -> bool:
        """Is a forward pass a collective operation, because a process has only a part of the weights?"""
        ...


@dataclass(frozen=True, kw_only=True)
class _Sampled:
    """The completions of some prompts of a set."""

    indices: Sequence[int]  # of the prompts
    ids: Tensor  # [B S+T]
    pad: Tensor  # [B]
    samples: Samples


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Evaluates any policy on the same prompts with the same random numbers."""

    sets: Mapping[str, Prompts]  # by name; the deciding metric is that of the first one
    reward: LimitedScorer  # what the policy is trained on
    judges: Mapping[str, LimitedScorer]  # never optimized
    sampling: Sampling
    plan: Evaluation
    reference: Callable[[], LanguageModel]  # the start policy: that of training, or loaded here and freed
    sampler: Sampler = field(default_factory=TorchSampler)
    rows: int = ROWS  # completions that are sampled together
    scoring: RowBatches = field(default_factory=RowBatches)
    world: World = World()

    def __call__(
        self, policy: EvaluatedPolicy, *, step: int, start: Sequence[Mapping[str, Any]] = ()
    ) -> list[dict[str, Any]]:
        """Returns one row per completion. Processes share the prompts, and every process gets all rows.

        `start`: the start policy's rows; `win` is 1 where the deciding score is higher than there, ½ for a tie.
        """
        sampled = {name: self._sample_set(policy, name) for name in self.sets}
        self.sampler.release_device()  # before all else that needs its memory
        completed = self._measured(policy, sampled)
        rows = [row for name, local in completed.items() for row in self._rows(name, local, step)]
        for row, before in zip(rows, start or rows, strict=True):
            row["win"] = win(row[self.plan.decides], before[self.plan.decides])
        return rows

    def development(self, prompts: Prompts) -> Evaluator:
        """An evaluator for decisions during training: the score of these prompts alone, one completion each."""
        plan = replace(self.plan, prompts=self.plan.development, samples=1, pass_at=[], metric="eval/score")
        return replace(self, sets={DEVELOPMENT: prompts}, judges={}, plan=plan)

    def prompt_count(self, name: str) -> int:
        """How many prompts of a set are evaluated."""
        return min(self.plan.prompts, len(self.sets[name]))

    def _sample_set(self, policy: EvaluatedPolicy, name: str) -> list[_Sampled]:
        """This process' completions of one set, batch by batch."""
        size = max(1, self.rows // self.plan.samples)
        return [self._sample(policy, name, batch) for batch in local_batches(self.prompt_count(name), self.world, size)]

    def _measured(
        self, policy: EvaluatedPolicy, sampled: Mapping[str, Sequence[_Sampled]]
    ) -> dict[str, list[list[dict[str, Any]]]]:
        """This process' rows of each set, batch by batch, still without scores. The reference is needed here alone."""
        reference = self.reference()
        return {
            name: [self._measure(policy, reference, name, batch) for batch in batches]
            for name, batches in sampled.items()
        }

    def _purpose(self, name: str) -> str:
        """The name of a set's random numbers: no two sets share them, and those of the first do not depend on its
        name."""
        first = next(iter(self.sets))
        return "evaluation" if name == first != DEVELOPMENT else f"evaluation of {name}"

    def _rows(self, name: str, local: list[list[dict[str, Any]]], step: int) -> list[dict[str, Any]]:
        """The scored rows of one set, over all processes."""
        self._score([row for batch in local for row in batch], self.sets[name])
        in_order = self._in_order(local)
        pass_at.check(in_order, self.plan.metric)
        set_column = {"set": name} if len(self.sets) > 1 else {}
        return [{"step": step, **set_column, **row} for row in in_order]

    def _score(self, rows: Sequence[dict[str, Any]], prompts: Prompts) -> None:
        """Add the scores of the reward (with the penalty for truncated completions) and of every judge to the rows.

        A score is None where the scorer abstained, or failed for the reason that `failures` holds. By the scorer's
        name, `parts` and `answers` hold what it gave beside it; `correct` is the deciding score without the penalty.
        """
        examples = [prompts.examples[row["index"]] for row in rows]
        completions = [row["completion"] for row in rows]
        for name, scorer in {"score": self.reward, **self.judges}.items():
            checked = scorer(examples, completions, self.world)
            for position, row in enumerate(rows):
                value = checked.values[position]
                penalty = self.sampling.missing_eos_penalty * (name == "score" and not row["ended"])
                row[name] = None if value is None else value - penalty
                if self.plan.pass_at and name == self.plan.decides:
                    row["correct"] = value
                _add_details(row, name, checked, position)

    def _in_order(self, local: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """The rows of all processes in the order of the prompts; a prompt that two processes completed counts once."""
        batches, count = self.world.concatenate(local), len(local)
        rows = [row for number in range(count) for batch in batches[number::count] for row in batch]
        return list({(row["index"], row.get("sample", 0)): row for row in rows}.values())

    @torch.no_grad()
    def _sample(self, policy: EvaluatedPolicy, name: str, indices: Sequence[int]) -> _Sampled:
        """The completions of these prompts of a set."""
        prompts, decoding = self.sets[name], self.plan.decoding(self.sampling)
        ids, pad = prompts.batch(indices)
        random_numbers = uniforms(
            self.plan.seed, 0, indices, self.plan.samples, decoding.max_new_tokens, purpose=self._purpose(name)
        )
        samples = self.sampler(
            policy,
            ids,
            left_padding(pad),
            uniforms=random_numbers,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            eos=prompts.eos,
        )
        samples = samples.first(samples.longest())
        repeated, pad = (each.repeat_interleave(self.plan.samples, 0) for each in (ids, pad))
        return _Sampled(indices=indices, ids=torch.cat([repeated, samples.tokens], 1), pad=pad, samples=samples)

    @torch.no_grad()
    def _measure(
        self, policy: EvaluatedPolicy, reference: LanguageModel, name: str, batch: _Sampled
    ) -> list[dict[str, Any]]:
        """One row for each completion.

        KL and entropy are those of the policy at training's temperature, whatever the decoding of the evaluation.
        """
        prompts, temperature, samples = self.sets[name], self.sampling.temperature, batch.samples

        def of_rows(*rows: Any) -> tuple[Tensor, ...]:
            logp, entropy = policy.policy(*rows, temperature=temperature, entropy=True)
            return reference(*rows, temperature=temperature), logp, entropy

        sequences = Sequences(ids=batch.ids, pad=batch.pad, mask=samples.mask)
        together = self.world if policy.sharded else None
        ref, logp, entropy = sequences.scored(of_rows, self.scoring, world=together)
        exact = is_exact(self.sampler, policy.policy) and self.plan.decoding(self.sampling).temperature == temperature
        kl = ((samples.logp if exact else logp) - ref).sum(1)
        indices = batch.indices
        keys = [(index, number) for index in indices for number in range(self.plan.samples)]
        measured = (samples.ended, samples.mask.sum(1), kl, entropy.sum(1))
        columns = (prompts.completions(samples), *(column.tolist() for column in measured))
        return [
            {
                "index": index,
                **({"sample": number} if self.plan.samples > 1 else {}),
                "prompt": prompts.examples[index].text,
                "completion": text,
                "ended": ended,
                "length": length,
                "kl": divergence,
                "entropy_sum": entropies,
            }
            for (index, number), text, ended, length, divergence, entropies in zip(keys, *columns, strict=True)
        ]


def _add_details(row: dict[str, Any], name: str, checked: CheckedScores, position: int) -> None:
    """What a scorer gave beside the score of the completion at `position`, under its name; nothing where it gave
    nothing."""
    if position in checked.failures:
        row.setdefault("failures", {})[name] = checked.failures[position]
    if checked.parts:
        row.setdefault("parts", {})[name] = {part: values[position] for part, values in checked.parts.items()}
    if checked.answers:
        row.setdefault("answers", {})[name] = checked.answers[position]


def local_batches(count: int, world: World, size: int) -> Iterator[list[int]]:
    """This process's batches of prompt indices, at most `size` each.

    All processes have the same number of batches and none is empty, so that all make the same number of forward passes.
    """
    for batch in torch.arange(count).split(size * world.size):
        yield (world.shard(batch) if len(batch) >= world.size else batch[[world.rank % len(batch)]]).tolist()


def win(score: float | None, before: float | None) -> float | None:
    """1 for the higher score, ½ for a tie, None where one of them is missing."""
    if score is None or before is None:
        return None
    return 0.5 if score == before else float(score > before)
