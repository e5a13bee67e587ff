"""Steps that make no update, because no group is left to learn from: why, and when a run stops because of them."""

from __future__ import annotations

from collections.abc import Mapping

from align_lab.base.errors import RewardError
from align_lab.base.types import Needs
from align_lab.train.experience import Collected

MOST = 10  # steps in a row without an update, after which a run stops


def reason(collected: Collected) -> str:
    """Why a step has no group to learn from, and what to change."""
    unscored = collected.metrics.get("reward/failed", 0) + collected.metrics.get("reward/abstained", 0)
    if unscored:
        return (
            f"{unscored:.0f} of its {collected.episodes} completions have no score, and a group without one leaves the "
            "step: see reward/failed and reward/abstained"
        )
    return (
        f"no group of its {collected.episodes} completions has scores that differ. If this repeats, the prompts are "
        "too easy or too hard for the policy: choose others, or set a larger train.group_size"
    )


def equal(row: Mapping[str, float], needs: Needs) -> bool:
    """Were the scores equal in every group of a step, for an algorithm that compares completions within groups?"""
    return needs.min_group_size > 1 and row.get("frac_reward_zero_std") == 1


def said_of_equal(step: int) -> str:
    """What is printed once so many steps in a row had no scores that differ."""
    return (
        f"step {step}: the scores of every group were equal in each of the last {MOST} steps, so that nothing was "
        "learned from them (frac_reward_zero_std=1). Look at completions and scores: is the reward right? If it is, "
        "the prompts are too easy or too hard for the policy: choose others, or set a larger train.group_size"
    )


def stopped(step: int, last: str) -> RewardError:
    """The error of a run that learns nothing any more. `last`: the reason of its last step."""
    return RewardError(
        f"stopped after step {step} and saved: none of the last {MOST} steps made an update, so the run learns nothing "
        f"and would spend the rest of its budget on that. Of the last step, {last}. The same command continues, for "
        f"{MOST} such steps more"
    )
