"""All comparisons, and the algorithms for which TRL has nothing to compare with."""

from __future__ import annotations

from benchmarks.conformance.pair_cases import PAIR_CASES
from benchmarks.conformance.rollout_cases import ROLLOUT_CASES

CASES = (*ROLLOUT_CASES, *PAIR_CASES)

WITHOUT_COUNTERPART = {
    "ppo": "TRL 1.16 has no PPO any more",
    "ppo_max": "TRL has no PPO-max",
    "vanilla_pg": "TRL has no learned baseline any more",
    "reinforce": "no trainer of TRL has a baseline that moves over steps",
    "reinforce_pp": "no trainer of TRL whitens the returns of tokens over the batch",
    "reinforce_pp_baseline": "TRL's scale_rewards=batch divides by the standard deviation of the scores; here the "
    "centered scores are whitened over tokens",
    "remax": "TRL has no greedy baseline",
    "remax_released": "TRL has no greedy baseline",
    "raft": "TRL has no fine-tuning on the best of a group's samples",
    "slic_hf": "TRL's hinge loss is another one, with a reference: algo=slic_norm",
    "iterative_dpo": "TRL has no rounds; the loss is that of dpo",
    "sail_dp": "TRL has no SAIL",
    "sail_pp": "TRL has no SAIL",
    "sail_pr": "TRL has no SAIL",
    "sail_released": "TRL has no SAIL",
    "policy_gradient": "a family: its members are compared as the algorithms that they are",
}
"""Algorithms that are compared with golden values of other code, exact enumeration and identities alone."""
