"""A minibatch: the groups that one update is computed from, in micro-batches of whole groups.

Losses are normalized by the counts of the whole minibatch, so only speed and memory depend on the micro-batches. Groups
of similar length are together, without the columns that none of them needs (`by_length.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from align_lab.base.contracts import Algorithm
from align_lab.base.types import Advantage, Batch, PolicyOutput
from align_lab.base.world import World
from align_lab.models.language_model import LanguageModel
from align_lab.train.by_length import Columns, Lengths
from align_lab.train.experience import Experience
from align_lab.train.learner import Learner


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Human text for the pre-training term of PPO-ptx."""

    ids: Tensor  # [N L] right-padded
    mask: Tensor  # [N L-1] True where a target counts

    def seen_tokens(self) -> int:
        """Number of tokens that a model reads, without padding."""
        return int(self.mask.sum()) + len(self.ids)


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What the updates of one training step depend on besides the models, the algorithm and the experience."""

    step: int
    seed: int
    world: World = World()
    pretrain: Pretrain | None = None
    policy_from: int = 0  # the first step that trains the policy; earlier ones train the critic alone
    reference: LanguageModel | None = None  # only where log-probabilities of other prompts' completions are needed


@dataclass(frozen=True, kw_only=True)
class Part:
    """The groups of a micro-batch."""

    groups: Tensor  # indices, in main memory
    index: Tensor  # the same, on the device
    columns: Columns  # that they need


@dataclass(frozen=True, kw_only=True)
class Minibatch:
    """What one update is computed from: these groups of a step's experience."""

    learner: Learner
    algo: Algorithm
    experience: Experience
    advantage: Advantage
    lengths: Lengths  # of all groups of the experience
    groups: Tensor  # indices, in the order of the minibatch, in main memory
    context: StepContext

    @property
    def group_size(self) -> int:
        """G, completions of a group."""
        return self.experience.rollout.mask.shape[1]

    @cached_property
    def tokens(self) -> float:
        """Counted tokens of the whole minibatch."""
        return float(self.experience.rollout.mask[self.groups.to(self.experience.ids.device)].sum())

    @property
    def prompt(self) -> int:
        """S, the columns of prompts in the experience."""
        return self.experience.ids.shape[-1] - self.experience.rollout.mask.shape[-1]

    def micro_batches(self) -> Iterator[Part]:
        """This process's share of the groups, in the micro-batches that are in use: several are ordered by length."""
        size = max(1, (self.learner.plan.micro_batch or len(self.groups) * self.group_size) // self.group_size)
        share = self.context.world.shard(self.groups)
        ordered = self.lengths.longest_first(share) if len(share) > size else share
        return map(self._part, ordered.split(size), ordered.to(self.experience.ids.device).split(size))

    def others(self, part: Part) -> Part:
        """For each group of a micro-batch one of the minibatch with another prompt: the nearest before it."""
        groups = torch.tensor([self._before[group] for group in part.groups.tolist()], device="cpu")
        return self._part(groups, groups.to(part.index.device))

    @cached_property
    def _before(self) -> dict[int, int]:
        """Group -> the nearest one before it with another prompt; where all have one prompt, the one before it."""
        rows = self.experience.ids[self.groups.to(self.experience.ids.device), 0, : self.prompt].tolist()
        prompts, order = list(map(tuple, rows)), self.groups.tolist()
        return {group: order[_nearest_other(prompts, place)] for place, group in enumerate(order)}

    def _part(self, groups: Tensor, index: Tensor) -> Part:
        return Part(groups=groups, index=index, columns=self.lengths.columns(groups))


def _nearest_other(prompts: Sequence[tuple[int, ...]], place: int) -> int:
    """The nearest place before this one, around the end, with another prompt; without one, the place before."""
    before = ((place - back) % len(prompts) for back in range(1, len(prompts)))
    return next((one for one in before if prompts[one] != prompts[place]), place - 1)


def batch_of(m: Minibatch, part: Part, statistics: Mapping[str, Tensor]) -> Batch:
    """Some groups of a minibatch, with the denominators of the whole minibatch."""
    rollout, rows, T = m.experience.rollout, part.index, part.columns.response

    def take(value: Tensor | None) -> Tensor | None:
        return None if value is None else value[rows, :, :T]

    return Batch(
        mask=rollout.mask[rows, :, :T],
        logp_old=rollout.logp_old[rows, :, :T],
        advantage=m.advantage.advantage[rows, :, :T],
        tokens=m.tokens,
        sequences=float(len(m.groups) * m.group_size),
        logp_ref=take(rollout.logp_ref),
        value=take(rollout.value),
        returns=take(m.advantage.returns),
        longest=rollout.longest,
        origin=None if rollout.origin is None else rollout.origin[rows],
        noise=None if rollout.noise is None else rollout.noise[rows],
        statistics=statistics,
    )


def _padding(m: Minibatch, part: Part) -> Tensor | None:
    """The left padding of the rows of a micro-batch [B], of their own columns; None if no row is padded."""
    if not part.columns.padded:
        return None
    return m.experience.pad[part.index].flatten() - (m.prompt - part.columns.prompt)


def forward(m: Minibatch, part: Part, *, values: bool = True) -> PolicyOutput:
    """The models' current outputs for these groups, with gradient unless it is disabled; with the critic's values."""
    experience, learner, S, length = m.experience, m.learner, m.prompt, part.columns.response
    mask = experience.rollout.mask[part.index, :, :length]
    shape, pad = mask.shape, _padding(m, part)
    ids = experience.ids[part.index, :, S - part.columns.prompt : S + length].flatten(0, 1)
    logp, entropy = learner.logps(ids, pad, mask.flatten(0, 1), entropy=m.algo.needs.entropy)
    value = learner.values(ids, pad, length) if values else None
    return PolicyOutput(
        logp=logp.view(shape),
        value=None if value is None else value.view(shape),
        entropy=None if entropy is None else entropy.view(shape),
    )


def with_mismatched(m: Minibatch, batch: Batch, now: PolicyOutput, part: Part) -> tuple[Batch, PolicyOutput]:
    """Add log-probabilities of the completions of other groups after the prompts of these."""
    assert m.context.reference is not None
    others, S = m.others(part), m.prompt
    length = others.columns.response
    mask = m.experience.rollout.mask[others.index, :, :length]
    prompts = m.experience.ids[part.index, :, S - part.columns.prompt : S]
    ids = torch.cat([prompts, m.experience.ids[others.index, :, S : S + length]], -1).flatten(0, 1)
    pad, flat = _padding(m, part), mask.flatten(0, 1)
    logp, _ = m.learner.logps(ids, pad, flat)
    reference = m.context.reference(ids, pad, flat, temperature=m.learner.temperature)
    assert isinstance(reference, Tensor)
    return (
        replace(batch, logp_ref_mismatched=reference.view(mask.shape)),
        replace(now, logp_mismatched=logp.view(mask.shape), mask_mismatched=mask),
    )


def with_pretrain(learner: Learner, now: PolicyOutput, pretrain: Pretrain, world: World) -> PolicyOutput:
    """Add the log-probabilities of human text, at temperature 1 whatever the sampling temperature is."""
    ids, mask = world.shard(pretrain.ids), world.shard(pretrain.mask)
    if not len(ids):  # more processes than texts: every process must make the same number of forward passes
        ids, mask = pretrain.ids[:1], torch.zeros_like(pretrain.mask[:1])
    return replace(
        now,
        logp_pretrain=learner.logps(ids, None, mask, temperature=1.0)[0],
        mask_pretrain=mask,
        tokens_pretrain=float(pretrain.mask.sum()),
    )
