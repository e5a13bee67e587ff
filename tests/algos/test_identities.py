"""Identities between algorithms, and expected gradients by exact enumeration."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor

from align_lab.base.types import Advantage, Batch, PolicyOutput, Rollout
from align_lab.testing.random_experience import batch, evaluate, experience, rollout
from tests.algos.examples import build, same

THETA = torch.tensor([0.3, -0.2, 0.5, 0.0, -0.9], dtype=torch.float64)  # a policy over five tokens
SCORE = torch.tensor([1.0, 0.2, -0.5, 2.0, 0.7], dtype=torch.float64)

LOSSES = {"grpo": {"kl_coef": 0.0}, "reinforce_pp": {}}


def grad_of(algorithm: object, logp: Tensor, x: Batch) -> Tensor:
    logp = logp.clone().requires_grad_()
    return torch.autograd.grad(algorithm.loss(PolicyOutput(logp=logp), x).loss, logp)[0]


@pytest.mark.parametrize("G", [2, 3, 5])
def test_rloo_is_the_group_mean_form_times_g_over_g_minus_1(G: int) -> None:
    """A = G/(G-1) (R - mean of the group)."""
    w = experience(0, G=G)
    R = w["score"] - 0.05 * ((w["logp_old"] - w["logp_ref"]) * w["mask"]).sum(-1)
    expected = (R - R.mean(-1, keepdim=True)) * G / (G - 1)
    advantage = evaluate(build("rloo", kl_coef=0.05), w).advantage
    torch.testing.assert_close(advantage, expected[..., None] * w["mask"])


@pytest.mark.parametrize("k", [1, 2, 3])
def test_grpo_standardizes_correct_and_wrong_answers(k: int) -> None:
    """With k of G = 4 scores 1 and the others 0, A is ±√(3/4 (4-k)/k) for the right and its inverse for the wrong."""
    w = experience(9, P=1, G=4)
    w["score"] = torch.tensor([[1.0] * k + [0.0] * (4 - k)], dtype=torch.float64)
    right, wrong = (3 / 4 * (4 - k) / k) ** 0.5, -((3 / 4 * k / (4 - k)) ** 0.5)
    expected = torch.tensor([[right] * k + [wrong] * (4 - k)], dtype=torch.float64)
    advantage = evaluate(build("grpo", std_eps=1e-12), w).advantage
    torch.testing.assert_close(advantage, expected[..., None] * w["mask"])


def test_grpo_has_only_the_gradient_of_its_kl_where_all_scores_are_equal() -> None:
    """At π = π_ref the gradient of k3 is 0 as well."""
    w = experience(10, G=4)
    w["score"] = torch.full_like(w["score"], 0.1)
    assert evaluate(build("grpo"), w).grads[0].ne(0).any()
    assert evaluate(build("grpo", kl_coef=0.0), w).grads[0].abs().max() < 1e-12
    assert evaluate(build("grpo"), {**w, "logp_ref": w["logp"]}).grads[0].abs().max() < 1e-12


def test_grpo_weighs_completions_equally_and_reinforce_pp_tokens() -> None:
    """On completions of one length the two losses agree, given the same advantages."""
    w = experience(11)
    equal = {**w, "mask": torch.ones_like(w["mask"])}
    for x, agree in ((equal, True), (w, False)):
        advantage = Advantage(advantage=torch.randn(x["mask"].shape, dtype=torch.float64) * x["mask"])
        grads = [grad_of(build(name, **fields), x["logp"], batch(x, advantage)) for name, fields in LOSSES.items()]
        assert torch.allclose(*grads) == agree


@pytest.mark.parametrize("clip", [0.01, 0.2, float("inf")])
def test_clipped_ppo_starts_with_the_gradient_of_reinforce(clip: float) -> None:
    """At π = π_old the clip is not active and ∇ρ = ∇ log π, given the same advantages and the same denominator."""
    w = experience(1)
    x = batch(w, Advantage(advantage=torch.randn(w["mask"].shape, dtype=torch.float64) * w["mask"]))
    x = dataclasses.replace(x, tokens=x.sequences)
    ppo, reinforce = build("reinforce_pp", clip=clip), build("reinforce")
    torch.testing.assert_close(grad_of(ppo, w["logp_old"], x), grad_of(reinforce, w["logp_old"], x))


def test_online_dpo_on_two_samples_in_order_is_dpo() -> None:
    """If the first sample has the higher score, the pair has the labels of a preference set."""
    w = experience(2)
    w["score"] = w["score"].sort(-1, descending=True).values
    same(evaluate(build("dpo"), w), evaluate(build("online_dpo"), w))


def test_online_dpo_has_no_gradient_where_all_scores_are_equal() -> None:
    """A tie expresses no preference."""
    w = experience(3, G=4)
    w["score"] = torch.ones_like(w["score"])
    assert evaluate(build("online_dpo"), w).grads[0].eq(0).all()


def test_a_preference_gradient_raises_the_chosen_and_lowers_the_rejected_completion() -> None:
    """This holds at every counted token."""
    w = experience(4)
    grad = evaluate(build("dpo"), w).grads[0]
    assert (grad[:, 0][w["mask"][:, 0]] < 0).all()
    assert (grad[:, 1][w["mask"][:, 1]] > 0).all()


def test_preference_metrics_are_the_implicit_rewards() -> None:
    """Checked by plain loops over pairs, for completions that fill their row and shorter ones."""
    w, beta = experience(8), 0.1
    sums = {name: (w[name] * w["mask"]).sum(-1).tolist() for name in ("logp", "logp_ref")}
    reward = [[beta * (a - b) for a, b in zip(*rows, strict=True)] for rows in zip(*sums.values(), strict=True)]
    P, metrics = len(reward), evaluate(build("dpo", beta=beta), w).metrics
    assert metrics["rewards/chosen"].item() == pytest.approx(sum(r[0] for r in reward) / P)
    assert metrics["rewards/rejected"].item() == pytest.approx(sum(r[1] for r in reward) / P)
    assert metrics["rewards/margins"].item() == pytest.approx(sum(r[0] - r[1] for r in reward) / P)
    assert metrics["rewards/accuracies"].item() == pytest.approx(sum(r[0] > r[1] for r in reward) / P)
    assert metrics["logps/chosen"].item() == pytest.approx(sum(row[0] for row in sums["logp"]) / P)
    assert metrics["logps/rejected"].item() == pytest.approx(sum(row[1] for row in sums["logp"]) / P)


def test_ppo_max_with_its_tricks_off_is_ppo_but_for_whitening() -> None:
    """Returns and value loss agree, and so do the advantages after whitening."""
    w = experience(5)
    ppo = build("ppo", lam=0.95, kl_coef=0.05)
    bare = build("ppo_max", lam=0.95, kl_coef=0.05, score_norm="none", score_clip=float("inf"))
    a, b = evaluate(ppo, w), evaluate(bare, w)
    torch.testing.assert_close(a.returns, b.returns)
    torch.testing.assert_close(a.metrics["loss/value_avg"], b.metrics["loss/value_avg"])
    counted = b.advantage[w["mask"]]
    torch.testing.assert_close(a.advantage[w["mask"]], (counted - counted.mean()) / (counted.var() + 1e-8).sqrt())


def test_reinforces_baseline_is_the_mean_reward_of_earlier_steps() -> None:
    """The first step has no baseline, and a step's own rewards are not part of it."""
    algorithm, steps = build("reinforce", kl_coef=0.0), [experience(seed) for seed in range(4)]
    state, earlier = algorithm.init_state(), torch.zeros(0, dtype=torch.float64)
    for w in steps:
        advantages, state = algorithm.advantages(rollout(w), state)
        expected = w["score"] - (earlier.mean() if len(earlier) else 0)
        torch.testing.assert_close(advantages.advantage, expected[..., None] * w["mask"])
        earlier = torch.cat([earlier, w["score"].flatten()])


@pytest.mark.parametrize("name, G", [("reinforce", 1), ("reinforce", 2), ("rloo", 2), ("rloo", 3)])
def test_the_expected_gradient_is_the_gradient_of_the_expected_score(name: str, G: int) -> None:
    """The estimator is unbiased, by enumeration of every group that can be sampled."""
    algorithm, theta = build(name, kl_coef=0.0), THETA.clone().requires_grad_()
    expected = torch.autograd.grad(theta.softmax(-1) @ SCORE, theta)[0]
    arms = torch.tensor(list(itertools.product(range(len(SCORE)), repeat=G)))  # [N G]: every group is a prompt
    logp = theta.log_softmax(-1)[arms]
    mask = torch.ones(*arms.shape, 1, dtype=torch.bool)
    x = Rollout(mask=mask, score=SCORE[arms], logp_old=logp.detach()[..., None])
    A = algorithm.advantages(x, algorithm.init_state())[0].advantage
    probability = logp.sum(-1).exp().detach()
    weighted = A * probability[:, None, None]
    x = Batch(mask=mask, logp_old=x.logp_old, advantage=weighted, tokens=float(G), sequences=float(G))
    loss = algorithm.loss(PolicyOutput(logp=logp[..., None]), x).loss
    torch.testing.assert_close(-torch.autograd.grad(loss, theta)[0], expected)
