"""Experience -> new weights: epochs of minibatches, whole groups in micro-batches, normalised by global counts."""

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
    """One step's completions: the tokens that a model reads, and the rollout that an algorithm reads."""

    ids: Tensor  # [P G S+T] left-padded prompt, then response
    pad: Tensor  # [P G] left padding
    rollout: Rollout

    def take(self, rows: Tensor | tuple[Tensor, ...]) -> Experience:
        """These groups, or with a pair of indices these samples of them."""
        fields = {f.name: getattr(self.rollout, f.name) for f in dataclasses.fields(self.rollout)}
        picked: dict[str, Any] = {name: None if value is None else value[rows] for name, value in fields.items()}
        return Experience(ids=self.ids[rows], pad=self.pad[rows], rollout=Rollout(**picked))

    def seen_tokens(self) -> int:
        """Tokens of prompts and responses, padding apart."""
        T = self.rollout.mask.shape[-1]
        return int(self.rollout.mask.sum() + (self.ids.shape[-1] - T - self.pad).sum())


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Human text for the pre-training term of PPO-ptx."""

    ids: Tensor  # [N L] right-padded
    mask: Tensor  # [N L-1] True where a target counts


def update(
    learner: Learner,
    algo: Algorithm,
    experience: Experience,
    advantage: Advantage,
    *,
    step: int,
    seed: int,
    world: World = World(),
    pretrain: Pretrain | None = None,
    policy_from: int = 0,
) -> dict[str, float]:
    """All updates of one step. Returns the metrics of the losses, averaged over the updates."""
    rows: dict[str, list[float]] = defaultdict(list)
    for epoch in range(learner.plan.epochs):
        order = permutation(len(experience.ids), seed, step, epoch)
        for prompts in order.chunk(learner.plan.minibatches):
            part = partial(_accumulate, learner, algo, experience, advantage, prompts, world, pretrain)
            metrics = _fitting(part, learner, experience, groups=len(prompts), world=world, frozen=step < policy_from)
            metrics |= learner.step(world, number=step, policy_from=policy_from)
            for name, value in metrics.items():
                rows[name].append(value)
    return {name: math.fsum(values) / len(values) for name, values in rows.items()}


def permutation(count: int, *key: int) -> Tensor:
    """Order [count] that is a function of its key alone."""
    return torch.from_numpy(np.random.default_rng(key).permutation(count))


def _fitting(
    accumulate: Callable[[], dict[str, float]],
    learner: Learner,
    experience: Experience,
    *,
    groups: int,
    world: World,
    frozen: bool,
) -> dict[str, float]:
    """The gradient of a minibatch; where memory runs out after all, begun again with micro-batches of half the size.

    `frozen`: only the critic learns this time.
    """
    group = experience.rollout.mask.shape[1]
    while True:
        learner.zero_grad(policy=not frozen)
        fits = (learner.plan.micro_batch or groups * group) // group
        try:
            return accumulate()
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if not is_out_of_memory(error):
                raise
            if fits <= 1:
                raise AlignLabError(
                    f"memory ran out with {group} completions in a forward pass, which is one group and the least. Set "
                    "hardware.numerics.gradient_checkpointing=true, or a smaller train.group_size or sampling.max_new_tokens"
                ) from error
            if world.size > 1:  # the others are in the middle of theirs
                half = -(-fits // 2) * group
                raise AlignLabError(
                    f"memory ran out with {min(fits, groups) * group} completions in a forward pass. Set "
                    f"train.micro_batch={half} (it changes no result), or hardware.numerics.gradient_checkpointing=true, and "
                    "run the same command again: it goes on from the last checkpoint"
                ) from error
        learner.plan = replace(learner.plan, micro_batch=-(-fits // 2) * group)  # the handler held the activations
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
    """Gradient of the loss over `prompts`, of which this process computes its share; metrics over all processes."""
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
    """What the models say of these groups now, with gradient."""
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
    """A language model's loss is at temperature 1, whatever the policy samples at."""
    ids, mask = world.shard(pretrain.ids), world.shard(pretrain.mask)
    if not len(ids):  # more processes than texts: all call their models alike
        ids, mask = pretrain.ids[:1], torch.zeros_like(pretrain.mask[:1])
    return replace(
        now,
        logp_pretrain=learner.logps(ids, None, mask, temperature=1.0)[0],
        mask_pretrain=mask,
        tokens_pretrain=float(pretrain.mask.sum()),
    )


def left_padding(pad: Tensor) -> Tensor | None:
    """None where no row is padded: the model has a faster path."""
    return pad if bool(pad.any()) else None
