"""Experience -> new weights: epochs, minibatches, micro-batches of whole groups; losses normalized by global counts."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from align_lab.base.contracts import Algorithm
from align_lab.base.errors import AlignLabError, DivergedError
from align_lab.base.types import Advantage, Batch, PolicyOutput
from align_lab.base.world import World
from align_lab.models.language_model import LanguageModel
from align_lab.models.row_batches import is_out_of_memory
from align_lab.train.draws import permutation
from align_lab.train.experience import Experience, left_padding
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
class _Minibatch:
    """What one update is computed from: these groups of a step's experience."""

    learner: Learner
    algo: Algorithm
    experience: Experience
    advantage: Advantage
    groups: Tensor  # indices, in the order of the minibatch
    context: StepContext

    @property
    def group_size(self) -> int:
        return self.experience.rollout.mask.shape[1]

    @cached_property
    def tokens(self) -> float:
        """Counted tokens of the whole minibatch."""
        return float(self.experience.rollout.mask[self.groups].sum())

    def micro_batches(self, groups: Tensor) -> tuple[Tensor, ...]:
        """This process's share of `groups`, in the micro-batches that are in use."""
        size = max(1, (self.learner.plan.micro_batch or len(self.groups) * self.group_size) // self.group_size)
        return self.context.world.shard(groups).split(size)


def update(
    learner: Learner, algo: Algorithm, experience: Experience, advantage: Advantage, context: StepContext
) -> dict[str, float]:
    """All updates of one step. Returns the metrics of the losses, averaged over the updates."""
    rows: dict[str, list[float]] = defaultdict(list)
    for epoch in range(learner.plan.epochs):
        order = permutation(len(experience.ids), "epoch", context.seed, context.step, epoch).to(experience.ids.device)
        for groups in order.chunk(learner.plan.minibatches):
            minibatch = _Minibatch(
                learner=learner,
                algo=algo,
                experience=experience,
                advantage=advantage,
                groups=groups,
                context=context,
            )
            metrics = _fit_in_memory(minibatch)
            metrics |= learner.step(context.world, number=context.step, policy_from=context.policy_from)
            for name, value in metrics.items():
                rows[name].append(value)
    return {name: math.fsum(values) / len(values) for name, values in rows.items()}


def _fit_in_memory(minibatch: _Minibatch) -> dict[str, float]:
    """Accumulate the gradient of a minibatch; when memory runs out, start again with micro-batches of half the size.

    Raises AlignLabError where that is not possible: with one group per micro-batch, or in one of several processes.
    """
    learner, world = minibatch.learner, minibatch.context.world
    group, groups = minibatch.group_size, len(minibatch.groups)
    while True:
        learner.zero_grad(policy=minibatch.context.step >= minibatch.context.policy_from)
        size = (learner.plan.micro_batch or groups * group) // group  # groups per micro-batch
        try:
            return _accumulate(minibatch)
        except RuntimeError as error:  # torch.OutOfMemoryError is a subclass
            if not is_out_of_memory(error):
                raise
            if size <= 1:
                raise AlignLabError(
                    f"memory ran out with {group} completions in a forward pass, one group, which is the minimum. Set "
                    "hardware.numerics.gradient_checkpointing=true, or decrease train.group_size or "
                    "sampling.max_new_tokens"
                ) from error
            if world.size > 1:  # the other processes are in the middle of their micro-batches
                half = -(-size // 2) * group
                raise AlignLabError(
                    f"memory ran out with {min(size, groups) * group} completions in a forward pass. Set "
                    f"train.micro_batch={half} (it changes no result), or "
                    "hardware.numerics.gradient_checkpointing=true, and run the same command again: it continues from "
                    "the last checkpoint"
                ) from error
        # outside the handler, whose traceback keeps the activations alive
        learner.plan = replace(learner.plan, micro_batch=-(-size // 2) * group)
        torch.cuda.empty_cache()
        print(f"memory ran out: micro-batches of {learner.plan.micro_batch} completions from now on", file=sys.stderr)


def _accumulate(m: _Minibatch) -> dict[str, float]:
    """Accumulate the gradient of this process's share of the loss. Returns the metrics of all processes."""
    world = m.context.world
    statistics = _statistics(m) if m.algo.needs.statistics else {}
    totals: dict[str, Tensor] = {}
    finite = True
    for number, rows in enumerate(m.micro_batches(m.groups)):
        batch = _batch(m, rows, statistics)
        now = _forward(m, rows)
        if number == 0 and m.context.pretrain is not None:
            now = _with_pretrain(m.learner, now, m.context.pretrain, world)
        out = m.algo.loss(now, batch)
        finite &= bool(torch.isfinite(out.loss))
        m.learner.backward(out.loss)
        _add(totals, out.metrics)
    if world.max(not finite):  # all processes stop together
        raise DivergedError(
            "the loss is not finite. The last good checkpoint is kept. Try a lower train.lr or a larger algo.kl_coef"
        )
    names, values = _over_processes(totals, world)
    return dict(zip(names, values.tolist(), strict=True))


@torch.no_grad()
def _statistics(m: _Minibatch) -> dict[str, Tensor]:
    """What `Algorithm.statistics` gives for the whole minibatch, over all micro-batches and processes."""
    totals: dict[str, Tensor] = {}
    partners = m.micro_batches(m.groups.roll(1))
    for rows, others in zip(m.micro_batches(m.groups), partners, strict=True):
        batch, now = _batch(m, rows, {}), _forward(m, rows, values=False)
        if m.algo.needs.mismatched:
            batch, now = _with_mismatched(m, batch, now, rows, others)
        _add(totals, m.algo.statistics(now, batch))
    return dict(zip(*_over_processes(totals, m.context.world), strict=True))


def _add(totals: dict[str, Tensor], parts: Mapping[str, Tensor]) -> None:
    for name, value in parts.items():
        totals[name] = totals.get(name, torch.zeros(())) + value.detach()


def _over_processes(totals: Mapping[str, Tensor], world: World) -> tuple[list[str], Tensor]:
    """The names of the scalars, and the scalars [n], summed over all processes in double precision."""
    names = sorted(totals)
    values = torch.stack([totals[name].double() for name in names]) if names else torch.zeros(0, dtype=torch.float64)
    world.add_up([values])
    return names, values


def _batch(m: _Minibatch, rows: Tensor, statistics: Mapping[str, Tensor]) -> Batch:
    """The groups `rows` of a minibatch, with the denominators of the whole minibatch."""
    rollout = m.experience.rollout

    def take(value: Tensor | None) -> Tensor | None:
        return None if value is None else value[rows]

    return Batch(
        mask=rollout.mask[rows],
        logp_old=rollout.logp_old[rows],
        advantage=m.advantage.advantage[rows],
        tokens=m.tokens,
        sequences=float(len(m.groups) * m.group_size),
        logp_ref=take(rollout.logp_ref),
        value=take(rollout.value),
        returns=take(m.advantage.returns),
        longest=rollout.longest,
        origin=take(rollout.origin),
        noise=take(rollout.noise),
        statistics=statistics,
    )


def _forward(m: _Minibatch, rows: Tensor, *, values: bool = True) -> PolicyOutput:
    """The models' current outputs for these groups, with gradient unless it is disabled; with the critic's values."""
    experience, learner = m.experience, m.learner
    mask = experience.rollout.mask[rows]
    shape, length = mask.shape, mask.shape[-1]
    ids, pad = experience.ids[rows].flatten(0, 1), left_padding(experience.pad[rows].flatten())
    logp, entropy = learner.logps(ids, pad, mask.flatten(0, 1), entropy=m.algo.needs.entropy)
    value = learner.values(ids, pad, length) if values else None
    return PolicyOutput(
        logp=logp.view(shape),
        value=None if value is None else value.view(shape),
        entropy=None if entropy is None else entropy.view(shape),
    )


def _with_mismatched(
    m: _Minibatch, batch: Batch, now: PolicyOutput, rows: Tensor, others: Tensor
) -> tuple[Batch, PolicyOutput]:
    """Add log-probabilities of the completions of the groups `others` after the prompts of `rows`."""
    assert m.context.reference is not None
    experience, mask = m.experience, m.experience.rollout.mask[others]
    S = experience.ids.shape[-1] - mask.shape[-1]  # tokens of a prompt
    ids = torch.cat([experience.ids[rows][..., :S], experience.ids[others][..., S:]], -1).flatten(0, 1)
    pad, flat = left_padding(experience.pad[rows].flatten()), mask.flatten(0, 1)
    logp, _ = m.learner.logps(ids, pad, flat)
    reference = m.context.reference(ids, pad, flat, temperature=m.learner.temperature)
    assert isinstance(reference, Tensor)
    return (
        replace(batch, logp_ref_mismatched=reference.view(mask.shape)),
        replace(now, logp_mismatched=logp.view(mask.shape), mask_mismatched=mask),
    )


def _with_pretrain(learner: Learner, now: PolicyOutput, pretrain: Pretrain, world: World) -> PolicyOutput:
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
