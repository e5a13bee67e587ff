"""Parts of an algorithm that neither golden values nor identities reach, in plain Python."""

from __future__ import annotations

import math

import pytest
import torch

from align_lab.testing.random_experience import batch, experience, policy_output, rollout, statistics
from tests.algos.examples import build


def test_cpo_is_dpo_without_a_reference_plus_the_mean_negative_log_likelihood_of_the_chosen() -> None:
    """arXiv 2401.08417, eqs. 4 and 5; the likelihood is averaged over tokens, as in the released code."""
    w, algo = experience(8, P=4, G=2), build("cpo", beta=0.3, nll_coef=0.7)
    advantages, _ = algo.advantages(rollout(w), algo.init_state())
    out = algo.loss(policy_output(algo, w), batch(w, advantages))
    sums, means = [], []
    for p in range(4):
        tokens = [w["logp"][p, g][w["mask"][p, g]].tolist() for g in range(2)]
        sums.append([math.fsum(one) for one in tokens])
        means.append(math.fsum(tokens[0]) / len(tokens[0]))
    preference = math.fsum(math.log1p(math.exp(-0.3 * (chosen - rejected))) for chosen, rejected in sums) / 4
    nll = -math.fsum(means) / 4
    assert out.loss.item() == pytest.approx(preference + 0.7 * nll)
    assert out.metrics["loss/nll_avg"].item() == pytest.approx(nll)


def test_kto_calls_a_completion_desirable_whose_score_is_above_one_half_and_counts_them() -> None:
    """A score of exactly one half is not above it."""
    w, algo = experience(9, P=4, G=1), build("kto")
    w["score"] = torch.tensor([[1.0], [0.5], [0.0], [0.75]], dtype=torch.float64)
    advantages, _ = algo.advantages(rollout(w), algo.init_state())
    assert [float(advantages.advantage[p][w["mask"][p]][0]) for p in range(4)] == [1, -1, -1, 1]
    assert int(statistics(algo, w, advantages)["desirable"]) == 2


@pytest.mark.parametrize("name", ["reinforce_pp", "reinforce_pp_baseline"])
def test_what_exceeds_the_clip_of_a_score_counts_as_the_clip(name: str) -> None:
    """Scores around 0 in a group of two, so that centering leaves them as they are."""
    algo = build(name, score_clip=2.0, kl_coef=0.0)

    def advantage(scores: list[list[float]]) -> torch.Tensor:
        w = experience(10, P=2, G=2) | {"score": torch.tensor(scores, dtype=torch.float64)}
        return algo.advantages(rollout(w), algo.init_state())[0].advantage

    beyond, at, below = ([[one, -one], [-1.0, 1.0]] for one in (50.0, 2.0, 1.5))
    torch.testing.assert_close(advantage(beyond), advantage(at))
    assert not torch.allclose(advantage(below), advantage(at))


@pytest.mark.parametrize("name", ["dpo", "ipo", "online_dpo", "slic_norm"])
def test_the_implicit_reward_is_beta_times_the_log_ratio(name: str) -> None:
    """arXiv 2305.18290, section 4: of the chosen and of the rejected completions, means over pairs."""
    w, algo = experience(11, P=4, G=2), build(name, beta=0.3)
    advantages, _ = algo.advantages(rollout(w), algo.init_state())
    metrics = algo.loss(policy_output(algo, w), batch(w, advantages)).metrics
    reward = 0.3 * ((w["logp"] - w["logp_ref"]) * w["mask"]).sum(-1)
    first = w["score"][:, 0] > w["score"][:, 1] if name == "online_dpo" else torch.ones(4, dtype=torch.bool)
    assert metrics["rewards/chosen"].item() == pytest.approx(torch.where(first, *reward.T).mean().item())
    assert metrics["rewards/rejected"].item() == pytest.approx(torch.where(first, *reward.T.flip(0)).mean().item())


def test_without_baseline_normalization_and_kl_the_advantage_is_the_score() -> None:
    """Of every counted token."""
    w, algo = experience(12), build("policy_gradient", baseline="none", normalization="none", kl="none")
    advantage = algo.advantages(rollout(w), algo.init_state())[0].advantage
    torch.testing.assert_close(advantage, w["score"].unsqueeze(-1) * w["mask"])


@pytest.mark.parametrize("name", ["ppo", "vanilla_pg"])
def test_the_value_loss_pulls_the_critic_towards_the_return(name: str) -> None:
    """∂/∂V of vf_coef · ½ (V - G)², averaged over tokens, where no clip is active."""
    w = experience(13)
    w["new_value"] = w["value"]  # inside its clip
    algo = build(name, vf_coef=0.4)
    advantages, _ = algo.advantages(rollout(w), algo.init_state())
    now = policy_output(algo, w)
    algo.loss(now, batch(w, advantages)).loss.backward()
    assert now.value is not None and now.value.grad is not None and advantages.returns is not None
    expected = 0.4 * (w["value"] - advantages.returns) * w["mask"] / w["mask"].sum()
    torch.testing.assert_close(now.value.grad, expected)


def test_an_entropy_at_its_target_is_left_alone() -> None:
    """PPO-max: the sign of a difference of 0 is 0."""
    w, algo = experience(14), build("ppo_max_with_every_trick")
    advantages, _ = algo.advantages(rollout(w), algo.init_state())
    at_target = {"entropy_gap": torch.zeros((), dtype=torch.float64)}
    with_term = algo.loss(policy_output(algo, w), batch(w, advantages, statistics=at_target)).loss
    without = build("ppo_max_with_every_trick", entropy_coef=0.0)
    torch.testing.assert_close(with_term, without.loss(policy_output(without, w), batch(w, advantages)).loss)


def test_sail_labels_the_share_of_pairs_that_it_names() -> None:
    """Half of the numbers 0, 1/4, 1/2, 3/4 are below one half."""
    w, algo = experience(15, P=4, G=2), build("sail_dp", share=0.5)
    w["noise"] = torch.tensor([[0.0, 0.1], [0.25, 0.1], [0.5, 0.1], [0.75, 0.1]], dtype=torch.float64)
    advantages, _ = algo.advantages(rollout(w), algo.init_state())
    assert float(algo.loss(policy_output(algo, w), batch(w, advantages)).metrics["rewards/policy_labels"]) == 0.5
