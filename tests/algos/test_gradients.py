"""Identities between policy gradients, their expectations by exact enumeration, and values computed by hand."""

from __future__ import annotations

import dataclasses
from math import exp, inf
from typing import Any

import pytest
import torch
from torch import Tensor

from align_lab.base.types import Advantage, PolicyOutput
from align_lab.testing.random_experience import LONGEST, Experience, batch, evaluate, experience, rollout
from tests.algos.enumeration import T, expected_gradient, true_gradient
from tests.algos.examples import build

GROUPED = {  # algorithms that compare completions within groups, without a KL in the loss
    "grpo": {"kl_coef": 0.0},
    "dr_grpo": {},
    "dapo": {"overlong_coef": 0.0},
    "gspo": {},
    "cispo": {},
    "raft": {"kl_coef": 0.0},
}


def with_advantage(name: str, w: Experience, advantage: Tensor, logp: Tensor, **fields: Any) -> tuple[float, Tensor]:
    """The policy loss and its gradient in logp, for given advantages [P G T]; the denominators of `w`."""
    logp = logp.clone().requires_grad_()
    out = build(name, **fields).loss(PolicyOutput(logp=logp), batch(w, Advantage(advantage=advantage * w["mask"])))
    return float(out.loss.detach()), torch.autograd.grad(out.loss, logp)[0]


def random_advantage(w: Experience) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(w["mask"].shape[:2], generator=generator, dtype=torch.float64)[..., None] * w["mask"]


@pytest.mark.parametrize("kl_coef", [0.0, 0.3])
@pytest.mark.parametrize(("name", "G"), [("remax", 1), ("remax", 2), ("vanilla_pg", 1), ("reinforce", 1), ("rloo", 2)])
def test_the_estimate_is_unbiased_with_the_kl_and_completions_of_two_lengths(name: str, G: int, kl_coef: float) -> None:
    """The baseline of ReMax and the values of any critic leave the expected gradient where it is."""
    expected = expected_gradient(build(name, kl_coef=kl_coef), G)
    torch.testing.assert_close(expected, true_gradient(kl_coef))


def test_the_released_remax_is_unbiased_without_its_departures_alone() -> None:
    """Up to its mean over tokens: the KL of one token alone, and a discount, each change the expected gradient."""
    plain = {"gamma": 1.0, "score_clip": inf}
    true = true_gradient(0.0)
    torch.testing.assert_close(expected_gradient(build("remax_released", kl_coef=0.0, **plain), 1), true)
    for kl_coef, departure in ((0.0, {"gamma": 0.9}), (0.0, {"score_clip": 0.1}), (0.3, {})):
        biased = expected_gradient(build("remax_released", kl_coef=kl_coef, **(plain | departure)), 1)
        true = true_gradient(kl_coef)
        assert torch.cosine_similarity(biased.flatten(), true.flatten(), dim=0) < 0.9999, departure


def test_dr_grpo_is_unbiased_up_to_two_constants() -> None:
    """(G-1)/G, because the mean contains the sample itself, and the length that a completion might have had."""
    expected = expected_gradient(build("dr_grpo"), 2)
    torch.testing.assert_close(expected * T * 2, true_gradient(0.0))


@pytest.mark.parametrize(("name", "fields"), [("grpo", {"kl_coef": 0.0}), ("dapo", {"overlong_coef": 0.0})])
def test_dividing_by_the_standard_deviation_changes_the_direction_of_the_expected_gradient(
    name: str, fields: dict[str, float]
) -> None:
    """This is what Dr. GRPO removes."""
    expected, true = expected_gradient(build(name, **fields), 2), true_gradient(0.0)
    assert torch.cosine_similarity(expected.flatten(), true.flatten(), dim=0) < 0.99


@pytest.mark.parametrize("G", [2, 4])
def test_grpo_without_its_two_divisions_is_rloo(G: int) -> None:
    """At the first update, up to (G-1)/G and the constant length."""
    w = experience(0, G=G)
    w["logp"] = w["logp_old"]
    dr_grpo, rloo = (evaluate(build(name, kl_coef=0.0), w).grads[0] for name in ("dr_grpo", "rloo"))
    torch.testing.assert_close(dr_grpo * LONGEST * G / (G - 1), rloo)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("dr_grpo", {"baseline": "group_mean", "kl": "none", "aggregation": "constant"}),
        ("reinforce_pp_baseline", {"baseline": "group_mean", "normalization": "batch", "kl": "k2_loss"}),
        ("dapo", {"baseline": "group_mean", "normalization": "group", "kl": "none", "std_eps": 1e-6}),
    ],
)
def test_choices_of_the_family_of_policy_gradients_are_these_algorithms(name: str, fields: dict[str, Any]) -> None:
    """DAPO without its higher clip and its length penalty; REINFORCE++-baseline for scores within its clip."""
    w = experience(18, G=3)
    own = {"dapo": {"clip_high": 0.2, "overlong_coef": 0.0}, "reinforce_pp_baseline": {"kl_coef": 0.05}}.get(name, {})
    same = evaluate(build(name, **own), w), evaluate(build("policy_gradient", **fields), w)
    torch.testing.assert_close(same[0].advantage, same[1].advantage)
    torch.testing.assert_close(same[0].loss, same[1].loss)
    torch.testing.assert_close(same[0].grads[0], same[1].grads[0])


def test_ppo_at_lambda_1_without_critic_and_clip_is_reinforce() -> None:
    """At the first update; PPO-max's tricks are off, and PPO divides by tokens where REINFORCE divides by sequences."""
    w = experience(1)
    w |= {"logp": w["logp_old"], "value": torch.zeros_like(w["value"]), "new_value": torch.zeros_like(w["value"])}
    off = {"score_norm": "none", "score_clip": inf, "clip": inf, "value_clip": inf, "ptx_coef": 0.0}
    ppo = evaluate(build("ppo_max", kl_coef=0.0, lam=1.0, critic_init="policy", **off), w)
    reinforce = evaluate(build("reinforce", kl_coef=0.0), w)
    tokens, sequences = float(w["mask"].sum()), float(w["score"].numel())
    torch.testing.assert_close(ppo.grads[0] * tokens, reinforce.grads[0] * sequences)


def test_vanilla_pg_with_a_critic_of_zeros_is_reinforce_without_a_baseline() -> None:
    """The critic's loss is beside the point; in its first step REINFORCE has no baseline."""
    w = experience(2)
    w["value"] = torch.zeros_like(w["value"])
    vanilla, reinforce = (evaluate(build(name, kl_coef=0.0), w) for name in ("vanilla_pg", "reinforce"))
    torch.testing.assert_close(vanilla.grads[0], reinforce.grads[0])
    torch.testing.assert_close(vanilla.metrics["loss/policy_avg"], reinforce.metrics["loss/policy_avg"])


def test_vanilla_pg_moves_its_critic_toward_the_return() -> None:
    """The gradient is c (V - G) over all tokens, without a clip however far V has moved."""
    w = experience(3)
    result = evaluate(build("vanilla_pg", kl_coef=0.0, vf_coef=0.7), w)
    G = w["score"][..., None] * w["mask"]
    expected = 0.7 * (w["new_value"] - G) * w["mask"] / w["mask"].sum()
    torch.testing.assert_close(result.grads[1], expected)


def test_vanilla_pg_counts_only_the_kl_of_this_and_later_tokens() -> None:
    """By loops over the counted tokens of each completion."""
    w = experience(4, holes=True)
    returns = evaluate(build("vanilla_pg", kl_coef=0.3), w).returns
    for p, g in torch.cartesian_prod(*map(torch.arange, w["score"].shape)).tolist():
        counted = w["mask"][p, g].nonzero().flatten().tolist()
        for t in counted:
            later = sum(float(w["logp_old"][p, g, s] - w["logp_ref"][p, g, s]) for s in counted if s >= t)
            assert float(returns[p, g, t]) == pytest.approx(float(w["score"][p, g]) - 0.3 * later)


def test_reinforce_pp_baseline_is_reinforce_pp_on_centered_scores_with_k2_in_the_loss() -> None:
    """Its parts: the group's mean, REINFORCE++ without a KL in the reward, and λ (log π - log π_ref) per token."""
    w = experience(5, G=3)
    result = evaluate(build("reinforce_pp_baseline", kl_coef=0.4), w)
    centered = {**w, "score": w["score"] - w["score"].mean(-1, keepdim=True)}
    plain = evaluate(build("reinforce_pp", kl_coef=0.0), centered)
    d = (w["logp"] - w["logp_ref"]) * w["mask"]
    tokens = w["mask"].sum()
    torch.testing.assert_close(result.advantage, plain.advantage)
    torch.testing.assert_close(result.grads[0], plain.grads[0] + 0.4 * d / tokens)
    torch.testing.assert_close(result.loss, plain.loss + 0.4 * (d.square() / 2).sum() / tokens)
    torch.testing.assert_close(result.metrics["loss/kl_avg"], (d.square() / 2).sum() / tokens)


@pytest.mark.parametrize("clip", [0.02, 0.2])
def test_gspo_at_one_token_is_ppos_ratio(clip: float) -> None:
    """A completion of one token has the token's ratio and clip; over more tokens the two differ."""
    for length, same in ((1, True), (5, False)):
        w = experience(6, T=length)
        gspo = evaluate(build("gspo", clip=clip, clip_high=clip), w)
        grpo = evaluate(build("grpo", kl_coef=0.0, clip=clip), w)
        assert torch.allclose(gspo.loss, grpo.loss) == same
        assert torch.allclose(gspo.grads[0], grpo.grads[0]) == same


def test_gspos_ratio_is_the_geometric_mean_and_its_gradient_is_shared_by_all_tokens() -> None:
    """One completion of three tokens with log-ratios 0.3, 0 and -0.15; without a clip."""
    w = experience(7, P=1, G=2, T=3)
    w["mask"] = torch.ones_like(w["mask"])
    w["logp"] = w["logp_old"] + torch.tensor([0.3, 0.0, -0.15], dtype=torch.float64)
    A = torch.tensor([2.0, 0.0], dtype=torch.float64).view(1, 2, 1)
    loss, grad = with_advantage("gspo", w, A, w["logp"], clip=inf, clip_high=inf)
    assert loss == pytest.approx(-2 * exp(0.05) / 2)
    assert grad[0, 0].tolist() == pytest.approx([-2 * exp(0.05) / 2 / 3] * 3)


def test_cispo_at_ratio_1_is_reinforce_averaged_over_tokens() -> None:
    """Given the same advantages."""
    w = experience(8)
    A, sequences, tokens = random_advantage(w), float(w["score"].numel()), float(w["mask"].sum())
    cispo = with_advantage("cispo", w, A, w["logp_old"])
    reinforce = with_advantage("reinforce", w, A, w["logp_old"])
    assert cispo[0] * tokens == pytest.approx(reinforce[0] * sequences)
    torch.testing.assert_close(cispo[1] * tokens, reinforce[1] * sequences)


def test_cispo_keeps_the_gradient_of_tokens_whose_weight_is_capped() -> None:
    """-min(ρ, cap) A / tokens at every token, where PPO's clip would leave 0."""
    w = experience(9)
    w["logp"] = w["logp_old"] + 0.5
    A = torch.ones_like(w["score"])[..., None] * w["mask"]
    tokens = float(w["mask"].sum())
    for cap, weight in ((1.2, 1.2), (inf, exp(0.5))):
        _, grad = with_advantage("cispo", w, A, w["logp"], weight_cap=cap)
        torch.testing.assert_close(grad, -weight * w["mask"].double() / tokens)
    assert with_advantage("dapo", w, A, w["logp"])[1].eq(0).all()


def test_dapo_with_a_symmetric_clip_is_grpos_surrogate_averaged_over_tokens() -> None:
    """GRPO weighs a token by its completion's length; multiplied by it, GRPO's gradient is DAPO's."""
    w = experience(10)
    A, length, tokens = random_advantage(w), w["mask"].sum(-1, keepdim=True), float(w["mask"].sum())
    _, dapo = with_advantage("dapo", w, A, w["logp"], clip=0.2, clip_high=0.2)
    _, grpo = with_advantage("grpo", w, A, w["logp"], clip=0.2, kl_coef=0.0)
    torch.testing.assert_close(dapo * tokens, grpo * length * float(w["score"].numel()))
    advantage = evaluate(build("dapo", overlong_coef=0.0, std_eps=1e-4), w).advantage
    torch.testing.assert_close(advantage, evaluate(build("grpo", std_eps=1e-4), w).advantage)


@pytest.mark.parametrize(
    ("ratio", "sign", "clipped"), [(1.25, 1, False), (1.3, 1, True), (0.79, -1, True), (0.81, -1, False)]
)
def test_dapo_clips_higher_above_than_below(ratio: float, sign: int, clipped: bool) -> None:
    """A token that becomes more likely keeps its gradient up to 1.28, one that becomes less likely down to 0.8."""
    w = experience(11)
    logp = w["logp_old"] + torch.tensor(ratio).log()
    _, grad = with_advantage("dapo", w, sign * torch.ones_like(w["score"])[..., None], logp)
    assert bool(grad.eq(0).all()) == clipped


def test_dapo_penalizes_the_last_fifth_of_the_length() -> None:
    """Of ten tokens, the last two: 8 tokens cost nothing, 9 cost half, 10 cost all; the weight is c."""
    lengths = torch.tensor([[3, 8], [9, 10]])
    w = experience(12, P=2, G=2, T=10)
    w["mask"] = torch.arange(10) < lengths[..., None]
    x = dataclasses.replace(rollout(w), longest=10)
    advantage = build("dapo", overlong_coef=2.0).advantages(x, ())[0]
    assert float(advantage.metrics["objective/non_score_reward"]) == pytest.approx(2 * (-0.5 - 1.0) / 4)
    shaped = w["score"] + 2 * torch.tensor([[0.0, 0.0], [-0.5, -1.0]], dtype=torch.float64)
    expected = (shaped - shaped.mean(-1, keepdim=True)) / (shaped.std(-1, keepdim=True) + 1e-6)
    torch.testing.assert_close(advantage.advantage, expected[..., None] * w["mask"])


def test_dapo_keeps_the_groups_whose_scores_differ_before_the_length_penalty() -> None:
    """Also by the least difference that a number can have."""
    w = experience(13, P=3, G=2, T=8)
    score = torch.tensor([[0.1, 0.1], [0.1, 0.1], [0.0, 1.0]])
    score[1, 1] = torch.nextafter(score[1, 1], torch.tensor(2.0))
    assert build("dapo").keep(rollout({**w, "score": score})).tolist() == [False, True, True]


def test_remax_subtracts_the_score_of_its_own_prompts_greedy_completion() -> None:
    """Without a KL, the advantage is r(y) - r(ȳ) at every token."""
    w = experience(14, P=3, G=2)
    advantage = evaluate(build("remax", kl_coef=0.0), w).advantage
    for p, g in torch.cartesian_prod(torch.arange(3), torch.arange(2)).tolist():
        expected = float(w["score"][p, g] - w["score_greedy"][p])
        assert advantage[p, g][w["mask"][p, g]].tolist() == pytest.approx([expected] * int(w["mask"][p, g].sum()))


def test_raft_is_the_negative_log_likelihood_of_the_best_completion() -> None:
    """By loops; the KL counts in the ranking, and the other completions have no gradient."""
    w = experience(15, P=3, G=4)
    w["logp_ref"][0, int(w["score"][0].argmax())] -= 50  # the highest score, at a KL that outweighs it
    result = evaluate(build("raft", kl_coef=0.05), w)
    likelihood, winners = 0.0, []
    for p in range(3):

        def reward(g: int, p: int = p) -> float:
            kl = ((w["logp_old"][p, g] - w["logp_ref"][p, g]) * w["mask"][p, g]).sum()
            return float(w["score"][p, g] - 0.05 * kl)

        winners.append(max(range(4), key=reward))
        likelihood += float((w["logp"][p, winners[p]] * w["mask"][p, winners[p]]).sum())
    assert winners[0] != int(w["score"][0].argmax())
    assert float(result.loss) == pytest.approx(-likelihood / 3)
    expected = torch.zeros_like(w["logp"])
    for p, g in enumerate(winners):
        expected[p, g] = -w["mask"][p, g].double() / 3
    torch.testing.assert_close(result.grads[0], expected)


@pytest.mark.parametrize("name", GROUPED)
def test_a_group_of_equal_scores_has_exactly_no_gradient(name: str) -> None:
    """In single precision, where the mean of equal numbers differs from them; the other groups learn."""
    w = experience(16, P=3, G=7)
    w = {key: x.float() if x.dtype == torch.float64 else x for key, x in w.items()}
    w["score"][1] = 0.1
    assert w["score"][1].mean() != w["score"][1, 0]
    result = evaluate(build(name, **GROUPED[name]), w)
    assert result.grads[0][1].eq(0).all() and result.grads[0].isfinite().all()
    assert result.grads[0][0].ne(0).any() and result.grads[0][2].ne(0).any()


def test_reinforce_pp_baseline_has_no_policy_gradient_where_all_scores_of_every_group_are_equal() -> None:
    """With one informative group in the batch, the mean over its tokens shifts the others as well."""
    w = experience(17, P=3, G=3)
    w["score"] = torch.tensor([0.1, 0.7, -0.2], dtype=torch.float64)[:, None].expand(3, 3).clone()
    assert evaluate(build("reinforce_pp_baseline", kl_coef=0.0), w).grads[0].eq(0).all()
    w["score"][0, 0] = 1.0
    shifted = evaluate(build("reinforce_pp_baseline", kl_coef=0.0), w).advantage[1][w["mask"][1]]
    assert shifted.unique().numel() == 1 and shifted[0] != 0
