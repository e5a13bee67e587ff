"""PPO-max's entropy loss is the distance of the whole minibatch's mean entropy from its target, however it is split."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from align_lab.base import registry
from align_lab.base.types import Batch, PolicyOutput

registry.scan()
ENTROPY = torch.tensor([[[0.5, 0.7, 0.0]], [[2.0, 2.4, 1.6]]], dtype=torch.float64)
MASK = torch.tensor([[[True, True, False]], [[True, True, True]]])
MEAN = (0.5 + 0.7 + 2.0 + 2.4 + 1.6) / 5


def parts(algo, statistics=None):
    """(policy output, batch) of each of the two groups."""
    zero = torch.zeros(2, 1, 3, dtype=torch.float64)
    whole = Batch(mask=MASK, logp_old=zero, advantage=zero, tokens=5.0, sequences=2.0, value=zero, returns=zero)
    for i in range(2):
        rows = slice(i, i + 1)
        cut = {name: getattr(whole, name)[rows] for name in ("mask", "logp_old", "advantage", "value", "returns")}
        now = PolicyOutput(logp=zero[rows], value=zero[rows], entropy=ENTROPY[rows].clone().requires_grad_())
        yield now, replace(whole, **cut, statistics=statistics or {})


def algorithm(target):
    return registry.build("algo", {"name": "ppo_max", "entropy_coef": 2.0, "entropy_target": target, "ptx_coef": 0.0})


@pytest.mark.parametrize("target", [1.4, 1.5, 0.2, 35.0])
def test_the_losses_of_the_parts_add_up_to_the_distance_of_the_whole_mean_from_the_target(target):
    algo = algorithm(target)
    sums = sum(algo.statistics(now, x)["entropy_gap"].detach() for now, x in parts(algo))
    assert float(sums) == pytest.approx(MEAN - target)
    total, toward = 0.0, 1.0 if target < MEAN else -1.0
    for now, x in parts(algo, {"entropy_gap": sums}):
        loss = algo.loss(now, x).loss
        loss.backward()
        total += float(loss.detach())
        torch.testing.assert_close(now.entropy.grad, 2.0 * toward * x.mask.double() / 5)
    assert total == pytest.approx(2.0 * abs(MEAN - target))


def test_the_term_is_asked_for_only_where_it_has_a_weight():
    assert algorithm(1.0).needs.statistics and algorithm(1.0).needs.entropy
    without = registry.build("algo", {"name": "ppo_max"}).needs
    assert not without.statistics and not without.entropy
