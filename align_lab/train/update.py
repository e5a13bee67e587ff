"""Experience -> new weights: epochs, minibatches, micro-batches of whole groups; losses normalized by global counts."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from align_lab.base.contracts import Algorithm
from align_lab.base.errors import AlignLabError, DivergedError
from align_lab.base.types import Advantage
from align_lab.base.world import World
from align_lab.models.default_device import no_default_device
from align_lab.models.row_batches import is_out_of_memory
from align_lab.train.draws import permutation
from align_lab.train.experience import Experience
from align_lab.train.learner import Learner
from align_lab.train.minibatch import Minibatch, StepContext, batch_of, forward, with_mismatched, with_pretrain

T = TypeVar("T")


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


class _OutOfMemory(Exception):
    """Memory ran out in one of the processes, and all of them know it. The cause is that of this process, if it was."""


def _fit_in_memory(minibatch: Minibatch) -> dict[str, float]:
    """Accumulate the gradient of a minibatch; where memory runs out in one process, all start again with half of the
    micro-batch.

    Raises AlignLabError where that is not possible: with one group per micro-batch, or inside a collective operation.
    """
    learner, group, groups = minibatch.learner, minibatch.group_size, len(minibatch.groups)
    while True:
        learner.zero_grad(policy=minibatch.context.step >= minibatch.context.policy_from)
        size = (learner.plan.micro_batch or groups * group) // group  # groups per micro-batch
        try:
            with no_default_device():
                return _accumulate(minibatch)
        except _OutOfMemory as error:
            if size <= 1:
                raise AlignLabError(
                    f"memory ran out with {group} completions in a forward pass, one group, which is the minimum. Set "
                    "hardware.numerics.gradient_checkpointing=true, or decrease train.group_size or "
                    "sampling.max_new_tokens"
                ) from error.__cause__
        # outside the handler, whose traceback keeps the activations alive
        learner.plan = replace(learner.plan, micro_batch=-(-size // 2) * group)
        torch.cuda.empty_cache()
        print(f"memory ran out: micro-batches of {learner.plan.micro_batch} completions from now on", file=sys.stderr)


def _locally(work: Callable[[], T], m: Minibatch, *, gradients: bool = False) -> T:
    """What `work` gives, the passes of this process. Raises _OutOfMemory in all processes if memory runs out in one.

    `gradients`: they are summed over processes meanwhile, and every process takes part in all sums, this one also where
    its memory has run out.
    """
    world, failure = m.context.world, None
    results: list[T] = []
    try:
        results.append(work())
    except RuntimeError as error:  # torch.OutOfMemoryError is a subclass
        if not is_out_of_memory(error):
            raise
        if world.size > 1 and m.learner.waits:
            raise AlignLabError(_advice(m)) from error
        failure = error
    if gradients:
        m.learner.begin_reducing(world)
        m.learner.reduce_rest()
    try:
        if world.max(failure is not None):
            raise _OutOfMemory from failure
    finally:
        failure = None  # it and its traceback would keep each other, and the activations, alive
    return results[0]


def _advice(m: Minibatch) -> str:
    """What to set where the other processes are in the middle of an operation that this one cannot come to any more."""
    size = min(m.learner.plan.micro_batch or sys.maxsize, len(m.groups) * m.group_size)
    half = -(-(size // m.group_size) // 2) * m.group_size
    smaller = f"train.micro_batch={half} (it changes no result), or " if half < size else ""
    return (
        f"memory ran out with {size} completions in a forward pass. Set {smaller}"
        "hardware.numerics.gradient_checkpointing=true, and run the same command again: it continues from the last "
        "checkpoint"
    )


def _accumulate(m: Minibatch) -> dict[str, float]:
    """Accumulate the gradient of this process's share of the loss. Returns the metrics of all processes."""
    world = m.context.world
    statistics = _statistics(m) if m.algo.needs.statistics else {}
    finite, totals = _locally(lambda: _passes(m, statistics), m, gradients=True)
    if world.max(not finite):  # all processes stop together
        raise DivergedError(
            "the loss is not finite. The last good checkpoint is kept. Try a lower train.lr or a larger algo.kl_coef"
        )
    names, values = _over_processes(totals, world)
    return dict(zip(names, values.tolist(), strict=True))


def _passes(m: Minibatch, statistics: Mapping[str, Tensor]) -> tuple[bool, dict[str, Tensor]]:
    """Forward and backward passes of all micro-batches: are their losses finite, and the sums of their metrics."""
    totals: dict[str, Tensor] = {}
    finite = True
    parts = list(m.micro_batches())
    for number, part in enumerate(parts):
        batch = batch_of(m, part, statistics)
        now = forward(m, part)
        if number == 0 and m.context.pretrain is not None:
            now = with_pretrain(m.learner, now, m.context.pretrain, m.context.world)
        out = m.algo.loss(now, batch)
        finite &= bool(torch.isfinite(out.loss))
        m.learner.backward(out.loss, last=m.context.world if part is parts[-1] else None)
        _add(totals, out.metrics)
    return finite, totals


@torch.no_grad()
def _statistics(m: Minibatch) -> dict[str, Tensor]:
    """What `Algorithm.statistics` gives for the whole minibatch, over all micro-batches and processes."""

    def passes() -> dict[str, Tensor]:
        totals: dict[str, Tensor] = {}
        for part in m.micro_batches():
            batch, now = batch_of(m, part, {}), forward(m, part, values=False)
            if m.algo.needs.mismatched:
                batch, now = with_mismatched(m, batch, now, part)
            _add(totals, m.algo.statistics(now, batch))
        return totals

    return dict(zip(*_over_processes(_locally(passes, m), m.context.world), strict=True))


def _add(totals: dict[str, Tensor], parts: Mapping[str, Tensor]) -> None:
    for name, value in parts.items():
        totals[name] = value.detach() + totals.get(name, 0.0)


def _over_processes(totals: Mapping[str, Tensor], world: World) -> tuple[list[str], Tensor]:
    """The names of the scalars, and the scalars [n], summed over all processes in double precision."""
    names = sorted(totals)
    values = torch.stack([totals[name].double() for name in names]) if names else torch.zeros(0, dtype=torch.float64)
    world.add_up([values])
    return names, values
