"""Experience -> new weights: epochs, minibatches, micro-batches of whole groups; losses normalized by global counts."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from align_lab.base.contracts import Algorithm
from align_lab.base.errors import AlignLabError, DivergedError
from align_lab.base.types import Advantage
from align_lab.base.world import World
from align_lab.models.row_batches import is_out_of_memory
from align_lab.train.draws import permutation
from align_lab.train.experience import Experience
from align_lab.train.learner import Learner
from align_lab.train.minibatch import Minibatch, StepContext, batch_of, forward, with_mismatched, with_pretrain


def update(
    learner: Learner, algo: Algorithm, experience: Experience, advantage: Advantage, context: StepContext
) -> dict[str, float]:
    """All updates of one step. Returns the metrics of the losses, averaged over the updates."""
    rows: dict[str, list[float]] = defaultdict(list)
    lengths = experience.lengths()
    for epoch in range(learner.plan.epochs):
        order = permutation(len(experience.ids), "epoch", context.seed, context.step, epoch)
        for groups in order.chunk(learner.plan.minibatches):
            minibatch = Minibatch(
                learner=learner,
                algo=algo,
                experience=experience,
                advantage=advantage,
                lengths=lengths,
                groups=groups,
                context=context,
            )
            metrics = _fit_in_memory(minibatch)
            metrics |= learner.step(context.world, number=context.step, policy_from=context.policy_from)
            for name, value in metrics.items():
                rows[name].append(value)
    return {name: math.fsum(values) / len(values) for name, values in rows.items()}


def _fit_in_memory(minibatch: Minibatch) -> dict[str, float]:
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


def _accumulate(m: Minibatch) -> dict[str, float]:
    """Accumulate the gradient of this process's share of the loss. Returns the metrics of all processes."""
    world = m.context.world
    statistics = _statistics(m) if m.algo.needs.statistics else {}
    totals: dict[str, Tensor] = {}
    finite = True
    for number, part in enumerate(m.micro_batches()):
        batch = batch_of(m, part, statistics)
        now = forward(m, part)
        if number == 0 and m.context.pretrain is not None:
            now = with_pretrain(m.learner, now, m.context.pretrain, world)
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
def _statistics(m: Minibatch) -> dict[str, Tensor]:
    """What `Algorithm.statistics` gives for the whole minibatch, over all micro-batches and processes."""
    totals: dict[str, Tensor] = {}
    for part in m.micro_batches():
        batch, now = batch_of(m, part, {}), forward(m, part, values=False)
        if m.algo.needs.mismatched:
            batch, now = with_mismatched(m, batch, now, part)
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
