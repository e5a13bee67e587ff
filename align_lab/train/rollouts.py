"""Experience that is sampled in the loop: completions of the current policy, scored by the reward."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from align_lab.base.settings import Sampling
from align_lab.base.types import Needs, Rollout
from align_lab.base.world import World
from align_lab.models.language_model import LanguageModel
from align_lab.models.row_batches import RowBatches
from align_lab.rewards.scores import CheckedScores
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import Pending, Sampler, Samples, is_exact, uniforms
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.train.asked import Asked, Place, shard, there
from align_lab.train.by_length import Sequences
from align_lab.train.draws import draw, passes
from align_lab.train.experience import Collected, Experience, join, left_padding, scored_groups, trim
from align_lab.train.experience_metrics import equal_groups, means, scores_metrics, sums
from align_lab.train.learner import Learner
from align_lab.train.scoring import LimitedScorer, as_tensor, step_rewards


@dataclass(frozen=True, kw_only=True)
class _Sampled:
    """The completions of some prompts, over all processes."""

    experience: Experience  # those that have a score
    mask: Tensor  # [P G T] of all completions
    greedy: Tensor | None  # [P T] mask of the most likely completions
    ended: int
    prompt_tokens: int
    scored_tokens: int
    seconds: Mapping[str, float]
    metrics: Mapping[str, float]


@dataclass(kw_only=True)
class Rollouts:
    """Samples `group_size` completions of each of the step's prompts from the current policy, and scores them.

    Where the algorithm does not keep all groups (`needs.refills`), further prompts take their place.
    """

    learner: Learner
    prompts: Prompts
    reward: LimitedScorer
    sampling: Sampling
    needs: Needs
    seed: int
    keep: Callable[[Rollout], Tensor] | None = None  # of the algorithm; only asked where `needs.refills` is not 0
    reference: LanguageModel | None = None
    world: World = World()
    sampler: Sampler = field(default_factory=TorchSampler)
    scoring: RowBatches = field(default_factory=RowBatches)
    drawn: int = 0  # prompts so far

    def collect(self, step: int, *, groups: int) -> Collected:
        """The scored completions of `groups` prompts of the current policy, or fewer where the algorithm keeps fewer of
        all that it may sample in a step."""
        sampled: list[_Sampled] = []
        kept: list[Experience] = []
        for attempt in range(1 + self.needs.refills):
            started = time.perf_counter()
            asked = self.ask(step, groups, first=self.drawn + attempt * groups)
            asked.wait()
            self.sampler.release_device()
            sampled.append(self._scored(asked, self.seconds(started, [asked])))
            kept.append(self._kept(sampled[-1].experience))
            if sum(len(part.ids) for part in kept) >= groups:
                break
        self.drawn += groups * len(sampled)
        return self._charged(self._whole_shares(join(kept, fill=self.prompts.eos), groups), sampled)

    def ask(self, step: int, groups: int, *, first: int) -> Asked:
        """Ask for completions of this process's share of `groups` prompts, after the `first` that were drawn before."""
        plan = self.learner.plan
        indices, numbers, width = self._share(groups, first)
        random_numbers = uniforms(
            self.seed, step, indices, plan.group_size, self.sampling.max_new_tokens, passes=numbers
        )
        completions, ids, pad = self._complete(indices, width, random_numbers, self.sampling.temperature)
        greedy = self._greedy(indices, width)
        place = Place(step=step, groups=groups, first=first)
        return Asked(
            place=place, indices=indices, passes=numbers, ids=ids, pad=pad, completions=completions, greedy=greedy
        )

    def asked_before(self, place: Place, completions: Samples, greedy: Samples | None) -> Asked:
        """What `ask` gave before a checkpoint was written, from the completions of all processes."""
        indices, numbers, width = self._share(place.groups, place.first)
        ids, pad = _for_each(*self.prompts.batch(indices, least=width), self.learner.plan.group_size)
        return Asked(
            place=place,
            indices=indices,
            passes=numbers,
            ids=ids,
            pad=pad,
            completions=there(shard(completions, place.groups, self.world)),
            greedy=None if greedy is None else there(shard(greedy, place.groups, self.world)),
        )

    def finish(self, asked: Asked, seconds: Mapping[str, float], *, stale: bool) -> Collected:
        """The experience of a step whose completions are there. `stale`: older weights than the learner's sampled."""
        sampled = self._scored(replace(asked, stale=stale), seconds)
        self.drawn = asked.place.first + asked.place.groups
        return self._charged(self._whole_shares(sampled.experience, asked.place.groups), [sampled])

    def seconds(self, started: float, asked: Sequence[Asked]) -> dict[str, float]:
        """The time since `started`, spent on sampling and on the transfer of weights for what was `asked` since."""
        sync = sum(one.completions.sync_seconds for one in asked)
        sampling = {"time/rollout": time.perf_counter() - started - sync}
        return sampling if self.sampler.exact else sampling | {"time/sync": sync}

    def state_dict(self) -> dict[str, Any]:
        """The number of prompts that were drawn."""
        return {"drawn": self.drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.drawn = state["drawn"]

    def _kept(self, experience: Experience) -> Experience:
        """The groups that are worth training on."""
        if self.keep is None or not self.needs.refills or not len(experience.ids):
            return experience
        return experience.take(self.keep(experience.rollout).nonzero().squeeze(1))

    def _whole_shares(self, experience: Experience, groups: int) -> Experience:
        """At most `groups` groups; if some are missing, a number for which all processes make equally many passes."""
        count = len(experience.ids)
        if count == groups:
            return experience
        unit = self.learner.plan.minibatches * self.world.size if self.world.size > 1 else 1
        return experience.take(torch.arange(groups if count > groups else count // unit * unit))

    def _charged(self, experience: Experience, sampled: Sequence[_Sampled]) -> Collected:
        """The step's experience with the cost of everything that was sampled for it."""
        completions = sum(one.mask.shape[0] * one.mask.shape[1] for one in sampled)
        tokens = sum(int(one.mask.sum()) for one in sampled)
        greedy = [one.greedy for one in sampled if one.greedy is not None]
        extra = sum(len(mask) for mask in greedy)
        kept = {"rollout/groups_kept": len(experience.ids) * experience.rollout.mask.shape[1] / completions}
        return Collected(
            experience=trim(experience),
            episodes=completions + extra,
            tokens=tokens + sum(int(mask.sum()) for mask in greedy),
            labels=completions + extra,
            ended=sum(one.ended for one in sampled),
            seconds=sums([one.seconds for one in sampled]),
            prompt_tokens=sum(one.prompt_tokens for one in sampled),
            scored_tokens=sum(one.scored_tokens for one in sampled),
            metrics=means([one.metrics for one in sampled]) | (kept if self.needs.refills else {}),
        )

    def _share(self, groups: int, first: int) -> tuple[list[int], list[int], int]:
        """This process's prompts, how often each was drawn before, and the length of the longest of all processes'."""
        total = len(self.prompts)
        indices = self.world.shard(draw(total, groups, first, self.seed)).tolist()
        numbers = self.world.shard(passes(total, groups, first)).tolist()
        return indices, numbers, self.world.max(self.prompts.width(indices))

    def _scored(self, asked: Asked, seconds: Mapping[str, float]) -> _Sampled:
        """Score this process's completions, then gather those of all processes. `seconds`: what sampling took."""
        start, indices, samples = time.perf_counter(), asked.indices, asked.completions.samples
        samples = samples.first(self.world.max(samples.longest()))  # equal in all processes, as the prompts' width is
        greedy = None if asked.greedy is None else asked.greedy.samples
        checked = self._score(indices, samples)
        checked_greedy = self._score(indices, greedy) if greedy is not None else None
        local = self._experience(asked, samples, checked)
        local = replace(local, rollout=replace(local.rollout, **self._noise(asked.place.step, indices, asked.passes)))
        if greedy is not None and checked_greedy is not None:
            score_greedy = self._final_score(checked_greedy, greedy)
            local = replace(local, rollout=replace(local.rollout, score_greedy=score_greedy))
        experience = self.world.gather(local)
        experience = replace(experience, rollout=replace(experience.rollout, longest=self.sampling.max_new_tokens))
        scored = scored_groups(experience)
        return _Sampled(
            experience=scored,
            mask=experience.rollout.mask,
            greedy=None if greedy is None else self.world.gather_tensor(greedy.mask),
            ended=self.world.sum(int(samples.ended.sum())),
            prompt_tokens=experience.prompt_tokens() * (1 if greedy is None else 2),
            scored_tokens=experience.seen_tokens(),
            seconds={**seconds, "time/score": time.perf_counter() - start},
            metrics=scores_metrics(checked, checked_greedy, self.world) | equal_groups(scored.rollout.score),
        )

    def _complete(
        self, indices: Sequence[int], width: int, random_numbers: Tensor, temperature: float
    ) -> tuple[Pending, Tensor, Tensor]:
        """Ask for completions of these prompts, one for each row of random numbers; prompts [B S], padding [B]."""
        ids, pad = self.prompts.batch(indices, least=width)
        pending = self.sampler.begin(
            self.learner,
            ids,
            left_padding(pad),
            uniforms=random_numbers,
            temperature=temperature,
            top_p=self.sampling.top_p if temperature else 1.0,
            eos=self.prompts.eos,
        )
        return pending, *_for_each(ids, pad, len(random_numbers) // len(ids))

    def _greedy(self, indices: Sequence[int], width: int) -> Pending | None:
        """Ask for the most likely completion of each prompt, if the algorithm needs it."""
        if not self.needs.greedy:
            return None
        unused = torch.zeros(len(indices), self.sampling.max_new_tokens)
        return self._complete(indices, width, unused, temperature=0.0)[0]

    def _noise(self, step: int, indices: Sequence[int], numbers: Sequence[int]) -> dict[str, Tensor]:
        """Uniform numbers [P G] for the algorithm, if it needs them."""
        if not self.needs.noise:
            return {}
        group = self.learner.plan.group_size
        noise = uniforms(self.seed, step, indices, group, 1, passes=numbers, purpose="noise")
        return {"noise": noise.view(-1, group).to(torch.get_default_device())}

    def _score(self, prompts: Sequence[int], samples: Samples) -> CheckedScores:
        """The scores of this process's completions. Raises RewardError if too many of all processes' failed."""
        completions = self.prompts.completions(samples)
        repeat = len(completions) // max(1, len(prompts))
        examples = [self.prompts.examples[i] for i in prompts for _ in range(repeat)]
        return self.reward(examples, completions, self.world)

    def _final_score(self, checked: CheckedScores, samples: Samples) -> Tensor:
        """[B]: in every algorithm a truncated completion loses `missing_eos_penalty`; one without a score has NaN."""
        return as_tensor(checked.values).to(samples.logp) - self.sampling.missing_eos_penalty * ~samples.ended

    @torch.no_grad()
    def _experience(self, asked: Asked, samples: Samples, checked: CheckedScores) -> Experience:
        """Rows [P G ...] with the log-probabilities and values that the algorithm needs."""
        needs, count, pad = self.needs, len(asked.indices), asked.pad
        ids = torch.cat([asked.ids, samples.tokens], 1)

        def group(flat: Tensor) -> Tensor:
            return flat.view(count, -1, *flat.shape[1:])

        rollout = Rollout(
            mask=group(samples.mask),
            score=group(self._final_score(checked, samples)),
            logp_old=group(samples.logp),
            ended=group(samples.ended),
        )
        if self.world.max(bool(checked.steps)):
            steps = step_rewards(checked.steps, samples.tokens, samples.mask, self.prompts.tokenizer)
            rollout = replace(rollout, step_reward=group(steps.to(samples.logp)))
        sequences = Sequences(ids=ids, pad=pad, mask=samples.mask)
        together = self.world if self.learner.sharded else None

        def scored(work: Callable[..., Tensor], *, world: World | None = None) -> Tensor:
            """What `work` gives for ids, padding and mask of the rows, some of them at a time."""
            return group(sequences.scored(lambda *rows: (work(*rows),), self.scoring, world=world)[0])

        # the update's ratio must compare two log-probabilities of the trainer, with the weights that it begins with
        if asked.stale or not is_exact(self.sampler, self.learner.policy):
            logp = scored(lambda *rows: self.learner.logps(*rows)[0], world=together)
            rollout = replace(rollout, logp_old=logp, logp_sampler=rollout.logp_old)
        if needs.reference and needs.resets_reference:
            rollout = replace(rollout, logp_ref=rollout.logp_old)
        elif needs.reference:
            assert self.reference is not None
            logp = scored(partial(self.reference, temperature=self.sampling.temperature), world=together)
            rollout = replace(rollout, logp_ref=logp)
        if (critic := self.learner.critic) is not None:
            value = scored(lambda ids, pad, mask: critic(ids, pad, mask.shape[1]) * mask, world=together)
            rollout = replace(rollout, value=value)
        return Experience(ids=group(ids), pad=group(pad), rollout=rollout)


def _for_each(ids: Tensor, pad: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Prompts [P S] and their padding [P], for each of the `group` completions of a prompt."""
    return ids.repeat_interleave(group, 0), pad.repeat_interleave(group)
