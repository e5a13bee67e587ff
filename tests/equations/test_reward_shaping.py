"""Where a score and its penalty go, token by token."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from align_lab import equations as eq
from align_lab.testing.random_experience import experience, rollout

MASK = torch.tensor([[[1, 1, 1, 1, 0], [1, 0, 1, 1, 1]]], dtype=torch.bool)
SCORE = torch.tensor([[2.0, -1.0]], dtype=torch.float64)
NOTHING = torch.zeros(1, 2, 5, dtype=torch.float64)
X = replace(rollout(experience(0, P=1, G=2, T=5)), mask=MASK, score=SCORE, logp_old=NOTHING - 1, logp_ref=NOTHING - 1.5)
STEPS = torch.tensor([[[0.5, 0.0, 0.25, 0.0, 9.0], [0.0, 9.0, -3.0, 0.0, 0.0]]], dtype=torch.float64)


def test_scores_of_steps_are_at_their_tokens_and_the_rest_of_the_score_is_at_the_last() -> None:
    """Process rewards; a value at a token that does not count has no effect. The log-ratio is 0.5 at every token."""
    expected = torch.tensor([[[0.5, 0.0, 0.25, 1.25, 0.0], [0.0, 0.0, -3.0, 0.0, 2.0]]], dtype=torch.float64)
    torch.testing.assert_close(eq.token_reward(replace(X, step_reward=STEPS), SCORE, 0.0), expected)
    torch.testing.assert_close(
        eq.token_reward(replace(X, step_reward=STEPS), SCORE, 0.1), (expected - 0.1 * 0.5) * MASK
    )


@pytest.mark.parametrize("steps", [None, STEPS])
def test_the_rewards_of_a_sequence_add_up_to_its_score_and_its_penalty(steps: torch.Tensor | None) -> None:
    """With and without steps: -β times the sum of four log-ratios of 0.5."""
    reward = eq.token_reward(replace(X, step_reward=steps), SCORE, 0.1)
    torch.testing.assert_close(reward.sum(-1), SCORE - 0.1 * 4 * 0.5)


@pytest.mark.parametrize(
    "length, penalty", [(1, 0.0), (5, 0.0), (6, 0.0), (7, -0.25), (8, -0.5), (9, -0.75), (10, -1.0)]
)
def test_the_penalty_for_length_falls_linearly_over_the_last_part_of_the_longest_length(
    length: int, penalty: float
) -> None:
    """DAPO, arXiv 2503.14476, eq. 13, with a buffer of 4 of 10 tokens."""
    mask = (torch.arange(10) < length).view(1, 1, 10)
    assert eq.overlong_penalty(mask, longest=10, share=0.4).item() == pytest.approx(penalty)


def test_the_penalty_for_length_is_at_most_1() -> None:
    """Also of a completion that is longer than the longest one."""
    assert eq.overlong_penalty(torch.ones(1, 1, 14, dtype=torch.bool), longest=10, share=0.4).item() == -1
