"""Checks of an algorithm, on a tiny random rollout whose mask has holes: advantages, loss, metrics and state."""

from __future__ import annotations

import copy
import dataclasses
import io
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from align_lab.base.contracts import Algorithm
from align_lab.base.metrics import METRICS
from align_lab.base.types import Advantage, Batch, Needs
from align_lab.testing.outcomes import Outcome, outcome, outcomes
from align_lab.testing.random_experience import (
    TOKENWISE,
    Experience,
    Result,
    batch,
    evaluate,
    experience,
    policy_output,
    rollout,
    statistics,
)

JUNK = (float("nan"), float("inf"), 1e30)  # what may lie under the mask


def outcomes_of(algorithm: Algorithm) -> Iterator[Outcome]:
    """All checks of one algorithm."""
    declared = outcome(needs_are_declared, algorithm)
    yield declared
    if not declared.problems:
        with torch.random.fork_rng(devices=[]):
            yield from outcomes(CHECKS, algorithm)


def needs_are_declared(algorithm: Algorithm) -> Iterator[str]:
    """The loop reads from `needs` what to prepare."""
    needs: Any = algorithm.needs
    if not isinstance(needs, Needs):
        yield f"needs is {needs!r}. Return align_lab.base.types.Needs(...) from a property"
    elif needs.min_group_size < 1 or (needs.pairs and needs.min_group_size > 2):
        yield f"needs.min_group_size is {needs.min_group_size}. It is at least 1, and for pairs at most 2"
    elif not 0 <= needs.pairs <= 1 or (needs.samples and not needs.paired):
        yield f"needs.pairs is {needs.pairs}. It is a share from 0 to 1, and 1 where needs.paired is False"


def advantages_have_the_shape_of_the_rollout(algorithm: Algorithm) -> Iterator[str]:
    """[P G T] in the precision of the rollout, finite, 0 under the mask, without gradient; returns for a critic."""
    w = _experience(algorithm, 1)
    w["logp_old"].requires_grad_()
    with torch.no_grad():
        result = _advantages(algorithm, w)
    shape, mask = tuple(w["mask"].shape), w["mask"]
    for name, values in (("advantage", result.advantage), ("returns", result.returns)):
        if values is None:
            continue
        if tuple(values.shape) != shape or values.dtype != torch.float64:
            yield f"{name} is {tuple(values.shape)} {values.dtype} instead of {shape} torch.float64, as in the rollout"
        elif not values[mask].isfinite().all():
            yield f"{name} holds values that are not finite"
    advantage = result.advantage
    if tuple(advantage.shape) == shape and not advantage[~mask].eq(0).all():
        yield "advantage is not 0 where the mask is False. Use equations.spread, or multiply by the mask"
    if advantage.requires_grad:
        yield "advantage has a gradient. It is computed from a rollout, so detach it"
    if (result.returns is not None) != (algorithm.needs.critic is not None):
        yield "returns belong to a critic: give them where needs.critic is not None, and nowhere else"


def nothing_under_the_mask_matters(algorithm: Algorithm) -> Iterator[str]:
    """Not even NaN propagates to an advantage, a loss, a gradient or a metric."""
    w = _experience(algorithm, 2)
    clean = evaluate(algorithm, w)
    for junk in JUNK:
        dirty = {**w, **{name: torch.where(w["mask"], w[name], junk) for name in TOKENWISE}}
        if part := _difference(clean, evaluate(algorithm, dirty)):
            yield f"with {junk} at tokens that do not count, {part} changes. Use the masked functions of equations"
            return


def what_is_not_needed_may_be_absent(algorithm: Algorithm) -> Iterator[str]:
    """What only some algorithms need is None where `needs` does not ask for it."""
    w, needs = _experience(algorithm, 3), algorithm.needs
    absent = {name: None for name, use in (("logp_ref", needs.reference), ("value", needs.critic)) if not use}
    optional = (("score_greedy", needs.greedy), ("noise", needs.noise), ("origin", 0 < needs.pairs < 1))
    unused = {name: None for name, use in optional if not use}
    result, _ = algorithm.advantages(dataclasses.replace(rollout(w), **absent, **unused), algorithm.init_state())
    of_batch = {name: None for name in unused if name != "score_greedy"}
    batch = dataclasses.replace(_batch(algorithm, w, result), **absent, **of_batch)
    out = algorithm.loss(policy_output(algorithm, w), batch)
    if not out.loss.isfinite():
        yield f"without {' and '.join(absent)}, which needs does not ask for, the loss is {out.loss.item()}"


def the_loss_is_a_finite_scalar_with_a_gradient(algorithm: Algorithm) -> Iterator[str]:
    """The policy gets a gradient, and the critic where there is one."""
    w = _experience(algorithm, 4)
    out = algorithm.loss(policy_output(algorithm, w), _batch(algorithm, w, _advantages(algorithm, w)))
    if out.loss.shape != () or not out.loss.isfinite():
        yield f"the loss has shape {tuple(out.loss.shape)} and is {out.loss.tolist()}. Return one finite number"
        return
    result = evaluate(algorithm, w)
    if not all(gradient.isfinite().all() for gradient in result.grads):
        yield "a gradient is not finite"
    if not result.grads[0].abs().sum() > 0:
        yield "the policy gets no gradient: the loss does not depend on now.logp"
    if (result.grads[1].abs().sum() > 0) != (algorithm.needs.critic is not None):
        yield "the critic must get a gradient where needs.critic is not None, and nowhere else"


def the_losses_of_parts_add_up(algorithm: Algorithm) -> Iterator[str]:
    """Micro-batches sum to the minibatch: denominators are `tokens` and `sequences` of the batch."""
    w = _experience(algorithm, 5, prompts=4)
    if part := _difference(evaluate(algorithm, w), evaluate(algorithm, w, parts=2)):
        yield f"{part} of two halves does not add up to that of the whole. Divide by x.tokens or x.sequences"


def metrics_are_declared_detached_scalars(algorithm: Algorithm) -> Iterator[str]:
    """Every name is in the METRICS table."""
    w = _experience(algorithm, 6)
    result = _advantages(algorithm, w)
    out = algorithm.loss(policy_output(algorithm, w), _batch(algorithm, w, result))
    for name, value in {**result.metrics, **out.metrics}.items():
        if name not in METRICS:
            yield f"the metric {name} is not declared in align_lab.base.metrics.METRICS"
        if not isinstance(value, Tensor) or value.shape != () or value.requires_grad or not value.isfinite():
            yield f"the metric {name} is {value}. Give a finite scalar tensor, detached"


def it_computes_the_same_again(algorithm: Algorithm) -> Iterator[str]:
    """Bit for bit, whatever the state of the random generator."""
    w, results = _experience(algorithm, 7), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(evaluate(algorithm, w))
    if part := _difference(*results, exactly=True):
        yield f"{part} differs between two calls with the same rollout and state. Let it depend on these alone"


def the_state_survives_a_checkpoint(algorithm: Algorithm) -> Iterator[str]:
    """Saved and loaded without unpickling code, a new component continues as an uninterrupted one does."""
    first, second, file = _experience(algorithm, 8), _experience(algorithm, 9), io.BytesIO()
    resumed = dataclasses.replace(algorithm)  # type: ignore[type-var]
    _, state = algorithm.advantages(rollout(first), algorithm.init_state())
    torch.save(state, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    after, state_after = algorithm.advantages(rollout(second), state)
    again, state_again = resumed.advantages(rollout(second), loaded)
    if not torch.equal(after.advantage, again.advantage) or not _equal(state_after, state_again):
        yield (
            "after a checkpoint the next advantages or the next state differ from those of an uninterrupted run. "
            "Carry everything in the state that advantages returns, and nothing in the component"
        )


def the_inputs_are_not_modified(algorithm: Algorithm) -> Iterator[str]:
    """Neither the rollout nor the state is changed in place."""
    w, state = _experience(algorithm, 10), algorithm.init_state()
    before, state_before = {name: values.clone() for name, values in w.items()}, copy.deepcopy(state)
    algorithm.advantages(rollout(w), state)
    evaluate(algorithm, w)
    if changed := [name for name in w if not torch.equal(w[name], before[name])]:
        yield f"{', '.join(changed)} of the rollout is changed in place. Compute a new tensor"
    if not _equal(state, state_before):
        yield "the state is changed in place. Return a new one from advantages"


def the_smallest_group_is_enough(algorithm: Algorithm) -> Iterator[str]:
    """With `needs.min_group_size` samples a prompt, advantages are finite; the config refuses fewer."""
    needs = algorithm.needs
    size = (2 if needs.paired else 1) if needs.pairs else needs.min_group_size
    w = experience(11, P=3, G=size)
    if not _advantages(algorithm, w).advantage.isfinite().all():
        yield (
            f"needs.min_group_size is {size}, and with groups of {size} advantages are not finite. "
            f"Declare Needs(min_group_size={size + 1})"
        )


CHECKS = (
    advantages_have_the_shape_of_the_rollout,
    nothing_under_the_mask_matters,
    what_is_not_needed_may_be_absent,
    the_loss_is_a_finite_scalar_with_a_gradient,
    the_losses_of_parts_add_up,
    metrics_are_declared_detached_scalars,
    it_computes_the_same_again,
    the_state_survives_a_checkpoint,
    the_inputs_are_not_modified,
    the_smallest_group_is_enough,
)


def _experience(algorithm: Algorithm, seed: int, *, prompts: int = 3) -> Experience:
    needs = algorithm.needs
    samples = max(2, needs.min_group_size) if needs.paired else 1
    return experience(seed, P=prompts, G=min(samples, needs.max_group_size or samples), holes=True)


def _batch(algorithm: Algorithm, w: Experience, advantage: Advantage) -> Batch:
    return batch(w, advantage, statistics=statistics(algorithm, w, advantage))


def _advantages(algorithm: Algorithm, w: Experience) -> Advantage:
    return algorithm.advantages(rollout(w), algorithm.init_state())[0]


def _difference(a: Result, b: Result, *, exactly: bool = False) -> str | None:
    """The first part in which two results differ."""
    parts: Mapping[str, tuple[Any, Any]] = {
        "the advantage": (a.advantage, b.advantage),
        "the returns": (a.returns, b.returns),
        "the loss": (a.loss, b.loss),
        "the gradient": (a.grads, b.grads),
        "a metric": (a.metrics, b.metrics),
    }
    return next((name for name, (x, y) in parts.items() if not _equal(x, y, exactly=exactly)), None)


def _equal(a: Any, b: Any, *, exactly: bool = True) -> bool:
    if a is None or b is None:
        return a is b
    tolerance = 0.0 if exactly else None  # None: that of the precision
    try:
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    except AssertionError:
        return False
    return True
