"""Properties that hold for every algorithm on any experience."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from align_lab.testing.random_experience import Experience, evaluate, experience, rollout
from tests.algos.examples import ALGORITHMS, build, same, tokenwise

quick = settings(max_examples=8, deadline=None, derandomize=True)
seeds = st.integers(0, 10**6)
pairs = st.builds(experience, seeds, P=st.integers(1, 4), G=st.just(2), T=st.integers(1, 6), holes=st.booleans())
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


@every_algorithm
@quick
@given(w=pairs, junk=st.sampled_from([float("nan"), float("inf"), 1e30]))
def test_values_at_masked_tokens_do_not_matter(name: str, w: Experience, junk: float) -> None:
    """Not even NaN propagates to an advantage, a loss, a gradient or a metric."""
    dirty = tokenwise(w, lambda x: torch.where(w["mask"], x, junk), mask=w["mask"])
    same(evaluate(build(name), w), evaluate(build(name), dirty))


@every_algorithm
@quick
@given(w=pairs)
def test_a_hole_in_the_mask_is_as_if_its_token_were_removed(name: str, w: Experience) -> None:
    """If counted tokens are packed to the left, so are their advantages and gradients."""
    order = (~w["mask"]).to(torch.int8).argsort(stable=True, dim=-1)

    def cut(x: Tensor) -> Tensor:
        return x.gather(-1, order)

    same(evaluate(build(name), w), evaluate(build(name), tokenwise(w, cut, mask=cut(w["mask"]))), cut)


@every_algorithm
@quick
@given(w=pairs, columns=st.integers(1, 3), left=st.booleans())
def test_extra_padding_columns_change_nothing(name: str, w: Experience, columns: int, left: bool) -> None:
    """Padding on either side receives advantage 0 and gradient 0."""

    def pad(x: Tensor) -> Tensor:
        return F.pad(x, (columns, 0) if left else (0, columns))

    same(evaluate(build(name), w), evaluate(build(name), tokenwise(w, pad, mask=pad(w["mask"]))), pad)


@every_algorithm
@quick
@given(seed=seeds, parts=st.integers(2, 4))
def test_micro_batches_add_up_to_the_whole(name: str, seed: int, parts: int) -> None:
    """Losses, gradients and metrics of micro-batches sum to those of the minibatch."""
    w = experience(seed, P=4)
    same(evaluate(build(name), w), evaluate(build(name), w, parts=parts))


@pytest.mark.parametrize(
    "name", [name for name in ALGORITHMS if not (build(name).needs.pairs or build(name).needs.noise)]
)
@quick
@given(seed=seeds, G=st.integers(2, 5), data=st.data())
def test_the_order_of_samples_in_a_group_does_not_matter(name: str, seed: int, G: int, data: st.DataObject) -> None:
    """Permuting a group permutes its advantages; the order of a pair is its label, or what a label is drawn for."""
    w, order = experience(seed, G=G), data.draw(st.permutations(range(G)))
    before = evaluate(build(name), w)
    after = evaluate(build(name), {key: x if x.ndim == 1 else x[:, order] for key, x in w.items()})
    torch.testing.assert_close(after.advantage, before.advantage[:, order])
    torch.testing.assert_close(after.grads[0], before.grads[0][:, order])


@every_algorithm
@quick
@given(w=pairs)
def test_the_start_of_an_update_has_finite_gradients(name: str, w: Experience) -> None:
    """At π = π_old, with scores all equal and a policy that is certain, nothing is infinite."""
    certain = {**w, "score": torch.ones_like(w["score"]), "logp_old": 0 * w["logp"], "logp": 0 * w["logp"]}
    result = evaluate(build(name), certain)
    assert all(x.isfinite().all() for x in (result.advantage, result.loss, *result.grads, *result.metrics.values()))


@every_algorithm
@pytest.mark.parametrize("gap", [-60.0, 60.0])
def test_a_policy_far_from_the_old_one_has_finite_gradients(name: str, gap: float) -> None:
    """A ratio of e⁶⁰ is large but finite."""
    w = experience(3)
    result = evaluate(build(name), {**w, "logp": w["logp_old"] + gap})
    assert all(x.isfinite().all() for x in (result.loss, *result.grads, *result.metrics.values()))


@quick
@given(w=pairs, constant=st.floats(-5, 5))
def test_a_constant_added_to_all_scores_changes_nothing_for_rloo(w: Experience, constant: float) -> None:
    """The leave-one-out baseline subtracts what all samples of a prompt share."""
    a, _ = build("rloo").advantages(rollout(w), ())
    b, _ = build("rloo").advantages(rollout({**w, "score": w["score"] + constant}), ())
    torch.testing.assert_close(a.advantage, b.advantage, rtol=0, atol=1e-12)
