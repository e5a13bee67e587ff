"""Identities of the losses on preferences: minima, likelihoods by enumeration, limits that are other algorithms."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from align_lab import equations as eq
from align_lab.base.types import Batch, PolicyOutput
from align_lab.testing.random_experience import Experience, batch, evaluate, experience, rollout
from tests.algos.examples import build

BETA = 0.5
REFERENCE = torch.tensor([0.1, 0.4, 0.2, 0.3], dtype=torch.float64)  # a reference over four completions of one token
REWARD = torch.tensor([1.0, -0.5, 0.3, 2.0], dtype=torch.float64)
ON_PAIRS = ("dpo", "ipo", "slic_norm", "slic_hf", "simpo", "orpo", "cpo", "sail_dp")


def one_pair(algorithm: Any, theta: Tensor, arms: tuple[int, int], noise: float = 0.0) -> Tensor:
    """The loss of one pair of completions of one token, the first of which is the chosen one."""
    rows = torch.tensor([arms])
    w = {
        "mask": torch.ones(1, 2, 1, dtype=torch.bool),
        "score": torch.tensor([[1.0, 0.0]], dtype=torch.float64),
        "logp": theta.log_softmax(-1)[rows].unsqueeze(-1),
        "logp_ref": REFERENCE.log()[rows].unsqueeze(-1),
    }
    x = Batch(
        mask=w["mask"],
        logp_old=w["logp"].detach(),
        logp_ref=w["logp_ref"],
        advantage=torch.tensor([[[1.0], [-1.0]]], dtype=torch.float64),
        tokens=2.0,
        sequences=2.0,
        noise=torch.full((1, 2), noise, dtype=torch.float64),
    )
    return algorithm.loss(PolicyOutput(logp=w["logp"]), x).loss


def expected_loss(loss_of: Callable[[tuple[int, int]], Tensor]) -> Tensor:
    """Over all pairs of completions, with labels by Bradley and Terry on the true rewards."""
    total = torch.zeros((), dtype=torch.float64)
    for first, second in itertools.product(range(len(REWARD)), repeat=2):
        preferred = torch.sigmoid(REWARD[first] - REWARD[second])
        total = total + preferred * loss_of((first, second)) + (1 - preferred) * loss_of((second, first))
    return total / len(REWARD) ** 2


def test_dpo_is_the_negative_log_likelihood_of_the_labels_under_bradley_and_terry() -> None:
    """By enumeration of all pairs, at a policy that is not the optimum, without the package's equations."""
    theta = torch.tensor([0.3, -0.2, 0.9, 0.0], dtype=torch.float64)
    log_ratio = (theta.softmax(-1) / REFERENCE).log().tolist()

    def by_hand(arms: tuple[int, int]) -> Tensor:
        gap = BETA * (log_ratio[arms[0]] - log_ratio[arms[1]])
        return torch.tensor(math.log(1 + math.exp(-gap)), dtype=torch.float64)

    exact = expected_loss(by_hand)
    assert expected_loss(lambda arms: one_pair(build("dpo", beta=BETA), theta, arms)).item() == pytest.approx(
        exact.item(), abs=1e-12
    )


def test_dpos_likelihood_is_greatest_at_the_optimum_of_reward_with_a_kl_penalty() -> None:
    """π* ∝ π_ref exp(r/β) (arXiv 2305.18290, eq. 4), by enumeration of all pairs and labels."""
    optimum = (REFERENCE.log() + REWARD / BETA).requires_grad_()
    loss = expected_loss(lambda arms: one_pair(build("dpo", beta=BETA), optimum, arms))
    assert torch.autograd.grad(loss, optimum)[0].abs().max() < 1e-12
    for arm in range(len(REWARD)):
        elsewhere = optimum.detach() + 0.1 * torch.eye(len(REWARD), dtype=torch.float64)[arm]
        assert expected_loss(lambda arms, at=elsewhere: one_pair(build("dpo", beta=BETA), at, arms)) > loss


@pytest.mark.parametrize(("name", "share"), [("sail_dp", 1.0)])
def test_labels_of_the_policy_have_no_expected_gradient_without_the_additional_term(name: str, share: float) -> None:
    """E[∇F] = 0 for a label drawn with probability σ(βz): the score function of the Bernoulli distribution."""
    theta = torch.tensor([0.3, -0.2, 0.9, 0.0], dtype=torch.float64, requires_grad=True)
    log_ratio = (theta.softmax(-1) / REFERENCE).log()
    bare, whole = (build(name, beta=BETA, share=share, rho=rho) for rho in (0.0, 1.0))
    for first, second in itertools.permutations(range(4), 2):
        keep = torch.sigmoid(BETA * (log_ratio[first] - log_ratio[second])).item()
        expected = []
        for algorithm in (bare, whole):
            kept, switched = (
                torch.autograd.grad(one_pair(algorithm, theta, (first, second), noise), theta)[0]
                for noise in (keep - 1e-9, keep + 1e-9)
            )
            expected.append(keep * kept + (1 - keep) * switched)
        assert expected[0].abs().max() < 1e-12
        entropy = -(keep * math.log(keep) + (1 - keep) * math.log(1 - keep))  # of the label
        assert expected[1].abs().max() > 1e-4 * (entropy < 0.69)
        gap = BETA * (log_ratio[first] - log_ratio[second])
        of_entropy = -(torch.sigmoid(gap) * gap - torch.nn.functional.softplus(gap))
        torch.testing.assert_close(expected[1], torch.autograd.grad(of_entropy, theta, retain_graph=True)[0])


def test_a_label_of_the_policy_is_drawn_with_the_probability_that_the_policy_gives_it() -> None:
    gap = torch.tensor([-2.0, 0.0, 0.7], dtype=torch.float64)
    noise = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    drawn = torch.stack([eq.policy_label(gap, each.expand(3)) for each in noise])
    assert set(drawn.flatten().tolist()) == {1.0, -1.0}
    expected = [1 / (1 + math.exp(-value)) for value in gap.tolist()]
    assert (drawn == 1).double().mean(0).tolist() == pytest.approx(expected, abs=1e-4)


def gradient(name: str, w: Experience, **fields: Any) -> Tensor:
    return evaluate(build(name, **fields), w).grads[0]


def test_sail_dp_without_labels_of_the_policy_is_dpo() -> None:
    """With a share of 0; and with ρ = 0 it is DPO on the labels that were drawn."""
    w = experience(1, P=6)
    torch.testing.assert_close(gradient("sail_dp", w, share=0.0), gradient("dpo", w))
    kept = {**w, "noise": torch.zeros_like(w["noise"])}
    torch.testing.assert_close(gradient("sail_dp", kept, share=1.0, rho=0.0), gradient("dpo", w))
    switched = {**w, "noise": torch.ones_like(w["noise"]) * torch.tensor([0.0, 1.0], dtype=torch.float64)}
    of_switched = gradient("dpo", {key: x.flip(1) if x.ndim > 1 else x for key, x in w.items()}).flip(1)
    torch.testing.assert_close(gradient("sail_dp", switched, share=1.0, rho=0.0), of_switched)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_sail_pr_without_the_additional_term_is_dpo_on_pairs_and_online_dpo_on_samples(share: float) -> None:
    w = experience(2, P=6)
    offline = w["origin"] == 0
    if share == 1.0:
        offline = torch.zeros_like(offline)
    algorithm = build("sail_pr", gamma=0.0, share=share)
    x = rollout(w) if share < 1 else dataclasses.replace(rollout(w), origin=None)
    advantages = algorithm.advantages(x, ())[0]
    logp = w["logp"].clone().requires_grad_()
    of_batch = batch(w, advantages) if share < 1 else dataclasses.replace(batch(w, advantages), origin=None)
    computed = torch.autograd.grad(algorithm.loss(PolicyOutput(logp=logp), of_batch).loss, logp)[0]
    on_pairs, on_samples = gradient("dpo", w), gradient("online_dpo", w)
    torch.testing.assert_close(computed, torch.where(offline.view(-1, 1, 1), on_pairs, on_samples))


def test_sail_pr_learns_nothing_from_two_equal_scores() -> None:
    """The pairs of the set keep their gradient."""
    w = experience(3, P=6)
    tied = {**w, "score": torch.ones_like(w["score"])}
    grad, sampled = gradient("sail_pr", tied), w["origin"] == 1
    assert grad[sampled].eq(0).all() and grad[~sampled].ne(0).any()


def test_only_sampled_pairs_have_the_gradient_through_completions() -> None:
    """With π = 0, SAIL-PP gives pairs of the set the gradient of DPO; π changes only the sampled ones."""
    w = experience(4, P=6)
    bare, whole = (gradient("sail_pp", w, pi=pi) for pi in (0.0, 0.2))
    sampled = w["origin"] == 1
    torch.testing.assert_close(bare[~sampled], gradient("dpo", w)[~sampled])
    torch.testing.assert_close(whole[~sampled], bare[~sampled])
    changed, length = (whole - bare)[sampled], w["mask"][sampled]
    assert changed[length].ne(0).all()


@pytest.mark.parametrize("over_tokens", ["sum", "mean"])
def test_ipo_is_least_at_a_gap_of_one_over_two_beta(over_tokens: str) -> None:
    """There the loss is 0 and has no gradient; it is the square of the distance anywhere else."""
    beta, w = 0.25, experience(5)
    tokens = w["mask"].sum(-1, keepdim=True) if over_tokens == "mean" else torch.ones(1, 1, 1)
    first = torch.zeros_like(w["mask"], dtype=torch.float64)
    first[..., 0] = 1  # every completion has a first token
    chosen = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 2, 1)
    for distance in (0.0, -0.3, 0.4):
        logp = w["logp_ref"] + first * chosen * tokens * (1 / (2 * beta) + distance)
        result = evaluate(build("ipo", beta=beta, over_tokens=over_tokens), {**w, "logp": logp})
        assert result.loss.item() == pytest.approx(distance**2, abs=1e-12)
        assert (result.grads[0].abs().max() < 1e-12) == (distance == 0)


def test_simpo_without_a_margin_is_cpos_contrast_for_completions_of_one_token() -> None:
    w = experience(6, T=1)
    torch.testing.assert_close(gradient("simpo", w, beta=0.7, gamma=0.0), gradient("cpo", w, beta=0.7, nll_coef=0.0))


def test_orpo_by_its_definition() -> None:
    """Odds are p/(1-p), with p the geometric mean of the tokens' probabilities; by plain loops over pairs."""
    w, lam = experience(7), 0.3
    total = 0.0
    for logp, mask in zip(w["logp"], w["mask"], strict=True):
        p = [math.exp(row[counts].mean().item()) for row, counts in zip(logp.clamp(max=-0.01), mask, strict=True)]
        odds = [each / (1 - each) for each in p]
        total += -math.log(p[0]) + lam * math.log(1 + odds[1] / odds[0])
    w["logp"] = w["logp"].clamp(max=-0.01)
    assert evaluate(build("orpo", odds_coef=lam), w).loss.item() == pytest.approx(total / len(w["logp"]))


def test_a_hinge_has_no_gradient_beyond_its_margin() -> None:
    """slic_norm at β z ≥ 1, slic_hf at log π(y_w) - log π(y_l) ≥ δ but for the likelihood of the chosen."""
    w = experience(8)
    far = w["logp"] + torch.tensor([20.0, -20.0], dtype=torch.float64).view(1, 2, 1)
    assert gradient("slic_norm", {**w, "logp": far}).eq(0).all()
    grad = gradient("slic_hf", {**w, "logp": far}, nll_coef=0.1)
    expected = torch.where(w["mask"][:, 0], -0.1 / len(grad), 0.0).double()
    torch.testing.assert_close(grad[:, 0], expected)
    assert grad[:, 1].eq(0).all()


@pytest.mark.parametrize("name", ON_PAIRS)
def test_every_pair_loss_raises_the_chosen_completion_against_the_rejected(name: str) -> None:
    """Near the reference and with labels of the set, the gradient widens the gap of every pair."""
    w = experience(9)
    w = {**w, "logp": w["logp_old"], "logp_ref": w["logp_old"], "noise": torch.ones_like(w["noise"])}
    total = (gradient(name, w) * w["mask"]).sum(-1)
    assert (total[:, 0] < total[:, 1]).all()


@pytest.mark.parametrize("name", ["slic_hf", "simpo", "orpo", "cpo"])
def test_what_has_no_reference_computes_without_one(name: str) -> None:
    w = experience(10)
    assert not build(name).needs.reference
    algorithm = build(name)
    x = dataclasses.replace(batch(w, algorithm.advantages(rollout(w), ())[0]), logp_ref=None)
    metrics = algorithm.loss(PolicyOutput(logp=w["logp"]), x).metrics
    assert {"rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"} <= metrics.keys()


@pytest.mark.parametrize(("desirable", "undesirable"), [(1.0, 1.0), (1.3, 0.7)])
def test_kto_by_its_definition(desirable: float, undesirable: float) -> None:
    """z₀ from the completions of other prompts, then gains and losses; by plain loops over single completions."""
    w, beta = experience(11, P=4, G=1), 0.2
    w["score"] = torch.tensor([[1.0], [0.0], [1.0], [0.0]], dtype=torch.float64)
    algorithm = build("kto", beta=beta, desirable_weight=desirable, undesirable_weight=undesirable)
    other = [(w["logp"] - w["logp_ref"]).roll(1, 0)[row][w["mask"].roll(1, 0)[row]].sum().item() for row in range(4)]
    z0 = max(0.0, sum(other) / 4)
    assert z0 > 0
    total = 0.0
    for row, good in enumerate([True, False, True, False]):
        gain = (w["logp"] - w["logp_ref"])[row][w["mask"][row]].sum().item() - z0
        weight, value = (desirable, gain) if good else (undesirable, -gain)
        total += weight * (1 - 1 / (1 + math.exp(-beta * value)))
    result = evaluate(algorithm, w)
    assert result.loss.item() == pytest.approx(total / 4)
    assert result.metrics["rewards/reference_point"].item() == pytest.approx(z0)


def test_kto_treats_a_reference_point_below_zero_as_zero() -> None:
    w = experience(12, P=4, G=1)
    below = {**w, "logp": w["logp_ref"] - 0.1}
    assert evaluate(build("kto"), below).metrics["rewards/reference_point"].item() == 0.0
