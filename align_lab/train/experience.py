"""Where experience comes from: completions sampled and scored in the loop, or a set of preference pairs.

Both yield whole groups. A preference pair is a group of two, the chosen completion first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from align_lab.base.settings import Sampling
from align_lab.base.types import Needs, Rollout
from align_lab.base.world import World
from align_lab.models.language_model import LanguageModel
from align_lab.rewards.scores import CheckedScores
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import Sampler, Samples, uniforms
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.train.learner import Learner
from align_lab.train.scoring import LimitedScorer, as_tensor, score_metrics, step_rewards
from align_lab.train.update import Experience, left_padding, permutation


@dataclass(frozen=True, kw_only=True)
class Collected:
    """The experience of one step, over all processes, and what is charged to the budget for it."""

    experience: Experience
    episodes: int  # completions charged
    tokens: int  # tokens generated
    labels: int  # judgements: completions that the reward scored, or pairs that the data came with
    ended: int | None  # completions with an end-of-sequence token; None where nothing was sampled
    seconds: dict[str, float]
    reference_tokens: int = 0  # that the start policy read for log-probabilities of completions it did not sample
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])  # of the scores


class ExperienceSource(Protocol):
    """Where the loop gets its experience from."""

    def collect(self, step: int) -> Collected:
        """The experience of one step."""
        ...


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Samples `group_size` completions of each of the step's prompts from the current policy, and scores them."""

    learner: Learner
    prompts: Prompts
    reward: LimitedScorer
    sampling: Sampling
    needs: Needs
    seed: int
    reference: LanguageModel | None = None
    world: World = World()
    sampler: Sampler = field(default_factory=TorchSampler)

    def collect(self, step: int) -> Collected:
        """Sample and score this process's share of the step's prompts, then gather the shares of all processes."""
        plan = self.learner.plan
        start = time.perf_counter()
        indices = self.world.shard(draw(len(self.prompts), plan.prompts_per_step, step, self.seed)).tolist()
        width = self.world.max(self.prompts.width(indices))
        ids, pad = self.prompts.batch(indices, repeat=plan.group_size, least=width)
        random_numbers = uniforms(self.seed, step, indices, plan.group_size, self.sampling.max_new_tokens)
        samples = self.sampler(
            self.learner,
            ids,
            left_padding(pad),
            uniforms=random_numbers,
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            eos=self.prompts.eos,
        )
        self.sampler.release_device()
        sampling_end = time.perf_counter()
        checked = self._score(indices, samples)
        local = self._experience(torch.cat([ids, samples.tokens], 1), pad, samples, checked, len(indices))
        experience = self.world.gather(local)
        mask = experience.rollout.mask
        ended = self.world.sum(int(samples.ended.sum()))
        return Collected(
            experience=trim(
                scored_groups(experience, plan.minibatches * self.world.size if self.world.size > 1 else 1)
            ),
            episodes=mask.shape[0] * mask.shape[1],
            tokens=int(mask.sum()),
            labels=mask.shape[0] * mask.shape[1],
            ended=ended,
            seconds={
                "time/rollout": sampling_end - start - samples.sync_seconds,
                "time/score": time.perf_counter() - sampling_end,
            }
            | ({} if self.sampler.exact else {"time/sync": samples.sync_seconds}),
            metrics=score_metrics(checked, self.world),
        )

    def _score(self, prompts: Sequence[int], samples: Samples) -> CheckedScores:
        """The scores of this process's completions. Raises RewardError if too many of all processes' failed."""
        completions = self.prompts.completions(samples)
        examples = [self.prompts.examples[i] for i in prompts for _ in range(self.learner.plan.group_size)]
        return self.reward(examples, completions, self.world)

    @torch.no_grad()
    def _experience(self, ids: Tensor, pad: Tensor, samples: Samples, checked: CheckedScores, count: int) -> Experience:
        """Rows [P G ...] with the log-probabilities and values that the algorithm needs.

        In every algorithm a truncated completion loses `missing_eos_penalty`; one without a score has NaN.
        """

        def group(flat: Tensor) -> Tensor:
            return flat.view(count, -1, *flat.shape[1:])

        score = as_tensor(checked.values).to(samples.logp) - self.sampling.missing_eos_penalty * ~samples.ended
        rollout = Rollout(mask=group(samples.mask), score=group(score), logp_old=group(samples.logp))
        if self.world.max(bool(checked.steps)):
            steps = step_rewards(checked.steps, samples.tokens, samples.mask, self.prompts.tokenizer)
            rollout = replace(rollout, step_reward=group(steps.to(samples.logp)))
        if not self.sampler.exact:  # the update's ratio must compare two log-probabilities of the trainer
            logp, _ = self.learner.logps(ids, left_padding(pad), samples.mask)
            rollout = replace(rollout, logp_old=group(logp), logp_sampler=rollout.logp_old)
        if self.needs.reference:
            assert self.reference is not None
            logp = self.reference(ids, left_padding(pad), samples.mask, temperature=self.sampling.temperature)
            rollout = replace(rollout, logp_ref=group(logp))
        if self.learner.critic is not None:
            value = self.learner.critic(ids, left_padding(pad), samples.mask.shape[1]) * samples.mask
            rollout = replace(rollout, value=group(value))
        return Experience(ids=group(ids), pad=group(pad), rollout=rollout)


@dataclass(frozen=True, kw_only=True)
class PairCost:
    """What a set of pairs has cost.

    Pairs that the reward labels cost every completion that was sampled and scored for them; pairs of the data cost
    their two completions and one label each, and nothing was generated.
    """

    episodes: int
    tokens: int
    labels: int
    reference_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Batches of a preference set, as many sequences per step as a rollout has.

    A pair is charged to the budget the first time it is used.
    """

    experience: Experience  # all N pairs: [N 2 S+T]
    cost: PairCost  # of all N pairs
    pairs_per_step: int
    seed: int

    def collect(self, step: int) -> Collected:
        """The pairs of one step."""
        rows = draw(len(self.experience.ids), self.pairs_per_step, step, self.seed)
        return Collected(
            experience=trim(self.experience.take(rows)),
            episodes=self._charge(self.cost.episodes, step),
            tokens=self._charge(self.cost.tokens, step),
            labels=self._charge(self.cost.labels, step),
            reference_tokens=self._charge(self.cost.reference_tokens, step),
            ended=None,
            seconds={},
        )

    def _charge(self, cost: int, step: int) -> int:
        """The step's share of the cost of the set. The shares of one pass add up to it; further passes are free."""
        total = len(self.experience.ids)
        before, after = (min(total, (step + k) * self.pairs_per_step) for k in (0, 1))
        return round(cost * after / total) - round(cost * before / total)


def draw(total: int, count: int, step: int, seed: int) -> Tensor:
    """Indices [count] of the items that a step uses: consecutive slices of a shuffle of `total` items per pass."""
    first, last = step * count, (step + 1) * count - 1
    shuffles = torch.cat([permutation(total, seed, epoch) for epoch in range(first // total, last // total + 1)])
    start = first - first // total * total
    return shuffles[start : start + count]


def scored_groups(experience: Experience, unit: int) -> Experience:
    """Without the groups in which a completion has no score: their baselines would lack it.

    Where groups are missing, their number is a multiple of `unit`, so that all processes make the same number of
    forward passes.
    """
    whole = ~experience.rollout.score.isnan().any(1)
    if bool(whole.all()):
        return experience
    rows = whole.nonzero().squeeze(1)
    return experience.take(rows[: len(rows) // unit * unit])


def trim(experience: Experience) -> Experience:
    """Remove the columns that are padding in every row: left of the prompts and right of the responses."""
    if not len(experience.ids):
        return experience
    rollout = experience.rollout
    T = rollout.mask.shape[-1]
    used = _longest_response(rollout.mask)
    left = int(experience.pad.min())
    per_token = ("mask", "logp_old", "logp_sampler", "logp_ref", "value", "step_reward")
    fields = {name: getattr(rollout, name) for name in per_token}
    short = {name: None if value is None else value[..., :used] for name, value in fields.items()}
    return Experience(
        ids=experience.ids[..., left : experience.ids.shape[-1] - (T - used)],
        pad=experience.pad - left,
        rollout=replace(rollout, **short),
    )


def _longest_response(mask: Tensor) -> int:
    """Number of columns up to the last one that counts in any row, at least one."""
    columns = mask.flatten(0, -2).any(0).nonzero()
    return int(columns.max()) + 1 if len(columns) else 1
