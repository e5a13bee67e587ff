"""All comparisons, and the algorithms for which TRL has nothing to compare with."""

from __future__ import annotations

from benchmarks.conformance.pair_cases import PAIR_CASES
from benchmarks.conformance.rollout_cases import ROLLOUT_CASES

CASES = (*ROLLOUT_CASES, *PAIR_CASES)

WITHOUT_COUNTERPART = {
    "ppo": "TRL 1.16 has no PPO any more",
    "ppo_max": "TRL has no PPO-max",
    "reinforce": "no trainer of TRL has a baseline that moves over steps",
    "reinforce_pp": "no trainer of TRL normalizes returns per token over the batch",
}
"""Algorithms that are compared with golden values of other code (tests/golden) alone."""
