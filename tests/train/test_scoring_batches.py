"""Scoring and sampling of some rows at a time: every row is that of all rows at once, up to rounding."""

from dataclasses import replace

import pytest
import torch

from align_lab.base import registry
from align_lab.models.row_batches import RowBatches
from tests.train.small import algorithm, loop
from tests.train.test_other_engine import Rounding

registry.scan()
FIELDS = ("logp_old", "logp_ref", "value", "score", "mask")


def collected(rows, *, sampler=None, sampling=None):
    """The rollout of PPO, which has a reference and a critic, scored `rows` at a time."""
    it = loop(algorithm("ppo"), prompts_per_step=5)
    source = replace(it.source, scoring=RowBatches(rows))
    if sampler is not None:
        source = replace(source, sampler=sampler)
    source.sampler.batches.rows = sampling
    return source.collect(0, groups=5).experience


@pytest.mark.parametrize("rows", [1, 3, 7, 19])
@pytest.mark.parametrize("exact", [True, False])
def test_old_log_probabilities_reference_and_values_are_those_of_all_rows_at_once(rows, exact):
    expected, found = (collected(r, sampler=None if exact else Rounding()) for r in (None, rows))
    assert torch.equal(found.ids, expected.ids) and torch.equal(found.pad, expected.pad)
    for name in FIELDS:
        torch.testing.assert_close(getattr(found.rollout, name), getattr(expected.rollout, name), rtol=0, atol=1e-5)
    assert (found.rollout.logp_sampler is None) == exact


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_completions_are_those_of_all_rows_at_once(rows):
    expected, found = collected(None), collected(None, sampling=rows)
    assert torch.equal(found.ids, expected.ids)
    torch.testing.assert_close(found.rollout.logp_old, expected.rollout.logp_old, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_an_evaluation_is_that_of_all_rows_at_once(rows):
    it = loop(algorithm("rloo"))
    expected = it.evaluate(it.learner, step=0)
    found = replace(it.evaluate, scoring=RowBatches(rows))(it.learner, step=0)
    for row, one in zip(found, expected, strict=True):
        assert row == one | {name: pytest.approx(one[name], rel=1e-5, abs=1e-5) for name in ("kl", "entropy_sum")}
    few = replace(it.evaluate, rows=rows)(it.learner, step=0)
    assert [row["completion"] for row in few] == [row["completion"] for row in expected]
    assert [row["kl"] for row in few] == pytest.approx([row["kl"] for row in expected], abs=1e-5)


def test_the_reference_is_asked_for_when_all_completions_are_sampled_and_released_after_it():
    it, order = loop(algorithm("rloo")), []
    sampler = it.evaluate.sampler

    class Watched(type(sampler)):
        def __call__(self, *args, **kwargs):
            order.append("sample")
            return super().__call__(*args, **kwargs)

        def release_device(self):
            order.append("release")

    def reference():
        order.append("reference")
        return it.evaluate.reference()

    replace(it.evaluate, sampler=Watched(), reference=reference, rows=3)(it.learner, step=0)
    assert order == ["sample"] * 3 + ["release", "reference"]
