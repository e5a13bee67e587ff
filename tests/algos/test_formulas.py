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
