"""Experience -> new weights: epochs, minibatches, micro-batches of whole groups; losses normalized by global counts."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from align_lab.base.contracts import Algorithm
from align_lab.base.errors import AlignLabError, DivergedError
from align_lab.base.types import Advantage, Batch, PolicyOutput, Rollout
from align_lab.base.world import World
from align_lab.train.learner import Learner
from align_lab.train.micro_batch import is_out_of_memory


@dataclass(frozen=True, kw_only=True)
class Experience:
    """The completions of one step: the tokens that a model reads, and the rollout that an algorithm reads."""

    ids: Tensor  # [P G S+T] left-padded prompt, then response
    pad: Tensor  # [P G] left padding
    rollout: Rollout

    def take(self, rows: Tensor | tuple[Tensor, ...]) -> Experience:
        """The groups at these indices, or, for a pair of index tensors, the samples at (group, sample)."""
        fields = {f.name: getattr(self.rollout, f.name) for f in dataclasses.fields(self.rollout)}
        taken: dict[str, Any] = {name: None if value is None else value[rows] for name, value in fields.items()}
        return Experience(ids=self.ids[rows], pad=self.pad[rows], rollout=Rollout(**taken))

    def seen_tokens(self) -> int:
        """Number of tokens in prompts and responses, without padding."""
        T = self.rollout.mask.shape[-1]
        return int(self.rollout.mask.sum() + (self.ids.shape[-1] - T - self.pad).sum())


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Human text for the pre-training term of PPO-ptx."""

    ids: Tensor  # [N L] right-padded
    mask: Tensor  # [N L-1] True where a target counts


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What the updates of one training step depend on besides the models, the algorithm and the experience."""

    step: int
    seed: int
    world: World = World()
    pretrain: Pretrain | None = None
    policy_from: int = 0  # the first step that trains the policy; earlier ones train the critic alone


def update(
    learner: Learner, algo: Algorithm, experience: Experience, advantage: Advantage, context: StepContext
) -> dict[str, float]:
    """All updates of one step. Returns the metrics of the losses, averaged over the updates."""
    step, world = context.step, context.world
    rows: dict[str, list[float]] = defaultdict(list)
    for epoch in range(learner.plan.epochs):
        order = permutation(len(experience.ids), context.seed, step, epoch)
        for prompts in order.chunk(learner.plan.minibatches):
            accumulate = partial(_accumulate, learner, algo, experience, advantage, prompts, world, context.pretrain)
            metrics = _fit_in_memory(
                accumulate,
                learner,
                experience,
                groups=len(prompts),
                world=world,
                critic_only=step < context.policy_from,
            )
            metrics |= learner.step(world, number=step, policy_from=context.policy_from)
            for name, value in metrics.items():
                rows[name].append(value)
    return {name: math.fsum(values) / len(values) for name, values in rows.items()}


def permutation(count: int, *key: int) -> Tensor:
    """A random order [count] that depends on the key alone."""
    return torch.from_numpy(np.random.default_rng(key).permutation(count))


def _fit_in_memory(
    accumulate: Callable[[], dict[str, float]],
    learner: Learner,
    experience: Experience,
    *,
    groups: int,
    world: World,
    critic_only: bool,
) -> dict[str, float]:
    """Accumulate the gradient of a minibatch; when memory runs out, start again with micro-batches of half the size.

    Raises AlignLabError where that is not possible: with one group per micro-batch, or in one of several processes.
    """
    group = experience.rollout.mask.shape[1]
    while True:
        learner.zero_grad(policy=not critic_only)
        size = (learner.plan.micro_batch or groups * group) // group  # groups per micro-batch
        try:
            return accumulate()
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


def _accumulate(
    learner: Learner,
    algo: Algorithm,
    experience: Experience,
    advantage: Advantage,
    prompts: Tensor,
    world: World,
    pretrain: Pretrain | None,
) -> dict[str, float]:
    """Accumulate the gradient of this process's share of the loss over `prompts`. Returns metrics of all processes."""
    group = experience.rollout.mask.shape[1]
    tokens, sequences = float(experience.rollout.mask[prompts].sum()), float(len(prompts) * group)
    size = max(1, (learner.plan.micro_batch or len(prompts) * group) // group)
    totals: dict[str, Tensor] = {}
    finite = True
    for number, rows in enumerate(world.shard(prompts).split(size)):
        batch = _batch(experience.rollout, advantage, rows, tokens, sequences)
        now = _forward(learner, algo, experience, rows)
        if number == 0 and pretrain is not None:
            now = _with_pretrain(learner, now, pretrain, world)
        out = algo.loss(now, batch)
        finite &= bool(torch.isfinite(out.loss))
        learner.backward(out.loss)
        for name, value in out.metrics.items():
            totals[name] = totals.get(name, torch.zeros(())) + value.detach()
    if world.max(not finite):  # all processes stop together
        raise DivergedError(
            "the loss is not finite. The last good checkpoint is kept. Try a lower train.lr or a larger algo.kl_coef"
        )
    names = sorted(totals)
    values = torch.stack([totals[name].double() for name in names]) if names else torch.zeros(0, dtype=torch.float64)
    world.add_up([values])
    return dict(zip(names, values.tolist(), strict=True))


def _batch(rollout: Rollout, advantage: Advantage, rows: Tensor, tokens: float, sequences: float) -> Batch:
    """The groups `rows` of a rollout, with the denominators of the whole minibatch."""

    def take(value: Tensor | None) -> Tensor | None:
        return None if value is None else value[rows]

    return Batch(
        mask=rollout.mask[rows],
        logp_old=rollout.logp_old[rows],
        advantage=advantage.advantage[rows],
        tokens=tokens,
        sequences=sequences,
        logp_ref=take(rollout.logp_ref),
        value=take(rollout.value),
        returns=take(advantage.returns),
    )


def _forward(learner: Learner, algo: Algorithm, experience: Experience, rows: Tensor) -> PolicyOutput:
    """The models' current outputs for these groups, with gradient."""
    mask = experience.rollout.mask[rows]
    shape, length = mask.shape, mask.shape[-1]
    ids, pad = experience.ids[rows].flatten(0, 1), left_padding(experience.pad[rows].flatten())
    logp, entropy = learner.logps(ids, pad, mask.flatten(0, 1), entropy=algo.needs.entropy)
    value = learner.values(ids, pad, length)
    return PolicyOutput(
        logp=logp.view(shape),
        value=None if value is None else value.view(shape),
        entropy=None if entropy is None else entropy.view(shape),
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


def left_padding(pad: Tensor) -> Tensor | None:
    """None if no row is padded, for which the model has a faster path."""
    return pad if bool(pad.any()) else None
