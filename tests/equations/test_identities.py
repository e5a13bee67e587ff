"""Equations that must agree with one another, and with plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from align_lab import equations as eq

MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 0, 1, 1, 1], [0, 1, 0, 0, 0]], dtype=torch.bool)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("gamma", [1.0, 0.9, 0.0])
def test_gae_with_lambda_1_and_no_critic_is_the_return(gamma: float) -> None:
    """Holes in the mask included."""
    reward = random(0, 3, 5)
    advantage = eq.gae(reward, torch.zeros_like(reward), MASK, gamma=gamma, lam=1.0)
    torch.testing.assert_close(advantage, eq.reward_to_go(reward, MASK, gamma=gamma))


def test_gae_with_lambda_1_is_the_return_minus_the_value() -> None:
    """The sum of temporal differences telescopes."""
    reward, value = random(1, 3, 5), random(2, 3, 5)
    advantage = eq.gae(reward, value, MASK, gamma=0.9, lam=1.0)
    torch.testing.assert_close(advantage, (eq.reward_to_go(reward, MASK, gamma=0.9) - value) * MASK)


@pytest.mark.parametrize("gamma, lam", [(1.0, 0.95), (0.9, 0.7), (0.99, 0.0)])
def test_gae_is_the_discounted_sum_of_temporal_differences(gamma: float, lam: float) -> None:
    """Checked by plain loops over the counted tokens."""
    reward, value, expected = random(3, 3, 5), random(4, 3, 5), torch.zeros(3, 5, dtype=torch.float64)
    for i in range(3):
        at = MASK[i].nonzero().flatten().tolist()
        V = [value[i, t].item() for t in at] + [0.0]
        delta = [reward[i, t].item() + gamma * V[n + 1] - V[n] for n, t in enumerate(at)]
        for n, t in enumerate(at):
            expected[i, t] = sum((gamma * lam) ** (m - n) * delta[m] for m in range(n, len(at)))
    torch.testing.assert_close(eq.gae(reward, value, MASK, gamma=gamma, lam=lam), expected)


def test_leave_one_out_is_the_mean_of_the_others() -> None:
    """Checked by plain loops."""
    reward = random(5, 2, 4)
    expected = [[sum(x for j, x in enumerate(row) if j != i) / 3 for i in range(4)] for row in reward.tolist()]
    torch.testing.assert_close(eq.leave_one_out(reward), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("correction", [0, 1])
def test_whitened_tokens_have_mean_0_and_variance_1(correction: int) -> None:
    """The moments are those of counted tokens; a constant is whitened to 0, not to NaN."""
    x = eq.whiten(3 + 2 * random(6, 3, 5), MASK, correction=correction)
    assert x[MASK].mean().abs() < 1e-12
    torch.testing.assert_close(x[MASK].var(correction=correction), torch.ones((), dtype=torch.float64))
    assert eq.whiten(torch.ones(3, 5), MASK, correction=correction, eps=1e-8).eq(0).all()
    assert eq.whiten(torch.ones(3, 5), MASK, correction=correction, floor=1e-8).eq(0).all()


def test_running_moments_are_those_of_all_numbers_at_once() -> None:
    """For batches of any size, and for values far from 0."""
    batches = [1000 + random(seed, n) for seed, n in ((7, 1), (8, 5), (9, 2))]
    state = eq.initial_moments()
    for x in batches:
        state = eq.update_moments(state, x)
    whole = torch.cat(batches)
    torch.testing.assert_close(state["mean"], whole.mean())
    torch.testing.assert_close(eq.running_std(state), whole.std())


def test_the_running_deviation_of_fewer_than_two_different_numbers_is_1() -> None:
    """Dividing by it is then safe."""
    assert eq.running_std(eq.initial_moments()) == 1
    assert eq.running_std(eq.update_moments(eq.initial_moments(), torch.tensor([2.0]))) == 1
    assert eq.running_std(eq.update_moments(eq.initial_moments(), torch.tensor([2.0, 2.0]))) == 1


def test_the_last_counted_token_gets_the_score() -> None:
    """Padding and holes in the mask get none of it."""
    expected = torch.zeros(3, 5, dtype=torch.float64)
    expected[0, 3], expected[1, 4], expected[2, 1] = 1.0, 2.0, 3.0
    assert torch.equal(eq.at_end(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), MASK), expected)


def test_sums_and_means_ignore_masked_tokens() -> None:
    """Neither value nor gradient depends on them, even if they are NaN."""
    x = torch.where(MASK, 2.0, math.nan).requires_grad_()
    assert eq.masked_sum(x, MASK).tolist() == [8, 8, 2]
    eq.masked_mean(x, MASK, over=9.0).backward()
    torch.testing.assert_close(x.grad, MASK / 9.0)


@pytest.mark.parametrize(
    "advantage, logp, active", [(1.0, 0.5, True), (1.0, -0.5, False), (-1.0, 0.5, False), (-1.0, -0.5, True)]
)
def test_the_clip_acts_only_where_the_policy_has_moved_too_far(advantage: float, logp: float, active: bool) -> None:
    """The gradient is 0 for a good token whose ratio is above 1+ε, and for a bad one whose ratio is below 1-ε."""
    new, one = torch.tensor([logp], requires_grad=True), torch.ones(1, dtype=torch.bool)
    loss = eq.clipped_surrogate(new, torch.zeros(1), torch.tensor([advantage]), one, clip=0.2).loss.sum()
    expected = 0.0 if active else -advantage * math.exp(logp)
    assert torch.autograd.grad(loss, new)[0].item() == pytest.approx(expected)


def test_an_infinite_clip_does_not_clip() -> None:
    """The surrogate is -A ρ and the value loss ½ (V - G)²."""
    new, old, A, on = random(10, 5), random(11, 5), random(12, 5), torch.ones(5, dtype=torch.bool)
    torch.testing.assert_close(eq.clipped_surrogate(new, old, A, on, clip=math.inf).loss, -A * (new - old).exp())
    torch.testing.assert_close(eq.clipped_value_loss(new, old, A, on, clip=math.inf).loss, (new - A).square() / 2)


def test_a_value_inside_its_clip_is_not_counted_as_clipped() -> None:
    """Rounding in float32 does not count as clipping either."""
    value, returns, on = random(15, 1000).float(), random(16, 1000).float(), torch.ones(1000, dtype=torch.bool)
    old = value + random(17, 1000).float().clamp(-0.19, 0.19)
    assert not eq.clipped_value_loss(value, old, returns, on, clip=0.2).active.any()
    assert eq.clipped_value_loss(value, value + 1, value, on, clip=0.2).active.all()


def test_a_preference_of_even_odds_costs_log_2() -> None:
    """This holds for Bradley-Terry and for DPO, with label smoothing as well."""
    zero = torch.zeros(3, dtype=torch.float64)
    expected = torch.full_like(zero, math.log(2))
    torch.testing.assert_close(eq.bradley_terry(zero, zero), expected)
    torch.testing.assert_close(eq.dpo(zero, beta=0.1, label_smoothing=0.2), expected)


def test_dpo_is_bradley_terry_of_the_implicit_rewards() -> None:
    """-log σ(βz) = -log σ(r_w - r_l)."""
    w, lose = random(13, 6), random(14, 6)
    torch.testing.assert_close(eq.dpo(w - lose, beta=0.3), eq.bradley_terry(0.3 * w, 0.3 * lose))


def test_the_squared_sum_is_0_for_scores_around_0_and_grows_with_their_common_offset() -> None:
    """arXiv 2312.09244: (r_w + r_l)²."""
    chosen, rejected = torch.tensor([1.0, 3.0, -2.0]), torch.tensor([-1.0, 1.0, -0.5])
    assert eq.squared_sum(chosen, rejected).tolist() == [0.0, 16.0, 6.25]
