"""Where experience comes from: completions sampled and scored in the loop, or a set of preference pairs.

Both give whole groups: pairs are groups of two, chosen first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from align_lab.base.settings import Sampling
from align_lab.base.task import Scorer
from align_lab.base.types import Needs, Rollout
from align_lab.base.world import World
from align_lab.models.language_model import LanguageModel
from align_lab.rewards.scores import scores
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import Sampler, Samples, uniforms
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.train.learner import Learner
from align_lab.train.update import Experience, left_padding, permutation


@dataclass(frozen=True, kw_only=True)
class Collected:
    """Experience of one step, over all processes, and what it is charged."""

    experience: Experience
    episodes: int  # completions sampled and scored
    tokens: int  # tokens generated
    ended: int | None  # completions that ended by themselves; None where nothing was sampled
    seconds: dict[str, float]


class ExperienceSource(Protocol):
    def collect(self, step: int) -> Collected: ...


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Samples `group_size` completions of each of the step's prompts from the policy as it is, and scores them."""

    learner: Learner
    prompts: Prompts
    reward: Scorer
    sampling: Sampling
    needs: Needs
    seed: int
    reference: LanguageModel | None = None
    world: World = World()
    sampler: Sampler = field(default_factory=TorchSampler)

    def collect(self, step: int) -> Collected:
        plan = self.learner.plan
        began = time.perf_counter()
        mine = self.world.shard(draw(len(self.prompts), plan.prompts_per_step, step, self.seed))
        ids, pad = self.prompts.batch(
            mine.tolist(), repeat=plan.group_size, least=self.world.max(self.prompts.width(mine.tolist()))
        )
        numbers = uniforms(self.seed, step, mine.tolist(), plan.group_size, self.sampling.max_new_tokens)
        samples = self.sampler(
            self.learner,
            ids,
            left_padding(pad),
            uniforms=numbers,
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            eos=self.prompts.eos,
        )
        self.sampler.release_device()
        sampled = time.perf_counter()
        score = self._score(mine.tolist(), samples)
        part = self._experience(torch.cat([ids, samples.tokens], 1), pad, samples, score, len(mine))
        whole = trim(self.world.gather(part))
        mask = whole.rollout.mask
        ended = self.world.sum(int(samples.ended.sum()))
        return Collected(
            experience=whole,
            episodes=mask.shape[0] * mask.shape[1],
            tokens=int(mask.sum()),
            ended=ended,
            seconds={
                "time/rollout": sampled - began - samples.sync_seconds,
                "time/score": time.perf_counter() - sampled,
            }
            | ({} if self.sampler.exact else {"time/sync": samples.sync_seconds}),
        )

    def _score(self, prompts: Sequence[int], samples: Samples) -> Tensor:
        """Scores [B], by the one rule for all algorithms: a completion that was cut off loses `missing_eos_penalty`."""
        completions = self.prompts.completions(samples)
        examples = [self.prompts.examples[i] for i in prompts for _ in range(self.learner.plan.group_size)]
        score = torch.as_tensor(scores(self.reward, examples, completions)).to(samples.logp)
        return score - self.sampling.missing_eos_penalty * ~samples.ended

    @torch.no_grad()
    def _experience(self, ids: Tensor, pad: Tensor, samples: Samples, score: Tensor, count: int) -> Experience:
        def group(flat: Tensor) -> Tensor:
            return flat.view(count, -1, *flat.shape[1:])

        rollout = Rollout(mask=group(samples.mask), score=group(score), logp_old=group(samples.logp))
        if not self.sampler.exact:  # the ratio of the update is between two numbers of training
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
class Pairs:
    """Batches of a preference set, as many sequences a step as a rollout has. A pair is charged the first time it is used."""

    experience: Experience  # all N pairs: [N 2 S+T]
    episodes: int  # completions sampled and scored for all N pairs
    tokens: int  # tokens generated for all N pairs
    pairs_per_step: int
    seed: int

    def collect(self, step: int) -> Collected:
        rows = draw(len(self.experience.ids), self.pairs_per_step, step, self.seed)
        return Collected(
            experience=trim(self.experience.take(rows)),
            episodes=self._charge(self.episodes, step),
            tokens=self._charge(self.tokens, step),
            ended=None,
            seconds={},
        )

    def _charge(self, cost: int, step: int) -> int:
        """The step's part of what the whole set cost; the parts of a pass add up to it, a second pass is free."""
        total = len(self.experience.ids)
        before, after = (min(total, (step + k) * self.pairs_per_step) for k in (0, 1))
        return round(cost * after / total) - round(cost * before / total)


def draw(total: int, count: int, step: int, seed: int) -> Tensor:
    """Which `count` of `total` items step `step` uses: consecutive parts of one shuffle after the other, [count]."""
    first, last = step * count, (step + 1) * count - 1
    shuffles = torch.cat([permutation(total, seed, epoch) for epoch in range(first // total, last // total + 1)])
    start = first - first // total * total
    return shuffles[start : start + count]


def trim(experience: Experience) -> Experience:
    """Cut the columns that no completion reaches and those that are padding everywhere."""
    rollout = experience.rollout
    T = rollout.mask.shape[-1]
    used = _last(rollout.mask)
    left = int(experience.pad.min())
    fields = {name: getattr(rollout, name) for name in ("mask", "logp_old", "logp_sampler", "logp_ref", "value")}
    short = {name: None if value is None else value[..., :used] for name, value in fields.items()}
    return Experience(
        ids=experience.ids[..., left : experience.ids.shape[-1] - (T - used)],
        pad=experience.pad - left,
        rollout=replace(rollout, **short),
    )


def _last(mask: Tensor) -> int:
    """Columns up to the last one that counts anywhere, at least one."""
    columns = mask.flatten(0, -2).any(0).nonzero()
    return int(columns.max()) + 1 if len(columns) else 1
