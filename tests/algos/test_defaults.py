"""Every default of every algorithm, typed from its source and not from the code: the papers, their authors' code, TRL.

A changed default changes what a comparison by name means. Whoever changes one on purpose changes this table, with where
the new value comes from.
"""

from __future__ import annotations

from math import inf

import pytest

from tests.train import small

HERE = "chosen here: the paper states none"
BETWEEN = "arXiv 2402.14740, appendix C: 0.03 (TL;DR) and 0.10 (HH); TRL 0.05"
SCRIPT = "MOSS-RLHF, train_ppo_en.sh"
CODE = "MOSS-RLHF, defaults of the code"
SAIL = "the released code of SAIL, tasks.yaml"
OPEN_RLHF = "OpenRLHF's REINFORCE++"

DEFAULTS = {
    "ppo": {
        "kl_coef": (0.05, "TRL's PPO"),
        "gamma": (1.0, "TRL, MOSS-RLHF, OpenRLHF, verl"),
        "lam": (0.95, "TRL, MOSS-RLHF"),
        "clip": (0.2, "arXiv 1707.06347, section 6.1; TRL, MOSS-RLHF, OpenRLHF, verl"),
        "value_clip": (0.2, "TRL, MOSS-RLHF"),
        "vf_coef": (0.1, "TRL's PPO"),
    },
    "ppo_max": {
        "kl_coef": (0.05, "arXiv 2307.04964: the main setting of 0.05, 0.1 and 0.2"),
        "score_norm": ("standardize", "section 5.4: (r - mean) / std of the history"),
        "score_clip": (0.8, "0.3 and 0.8 are tried, and a relaxed clip is recommended"),
        "gamma": (1.0, CODE),
        "lam": (0.9, "the paper; 0.95 in the code"),
        "advantage_norm": ("none", "section 5.4: not together with that of the reward"),
        "advantage_clip": (inf, "section 5.4: not together with that of the reward"),
        "clip": (0.2, CODE),
        "value_clip": (0.2, CODE),
        "vf_coef": (1.0, CODE),
        "entropy_coef": (0.0, "not recommended"),
        "entropy_target": (35.0, CODE),
        "ptx_coef": (0.1, HERE),
        "critic_init": ("reward", "section 5.4"),
        "critic_pretrain_steps": (5, HERE),
    },
    "ppo_max_moss_script": {
        "kl_coef": (0.01, SCRIPT),
        "score_norm": ("scale", f"{SCRIPT}: use_reward_scaling"),
        "score_clip": (inf, f"{SCRIPT}: use_reward_clip is off"),
        "gamma": (1.0, SCRIPT),
        "lam": (0.95, SCRIPT),
        "advantage_norm": ("none", f"{SCRIPT}: use_advantage_norm is off"),
        "advantage_clip": (inf, f"{SCRIPT}: use_advantage_clip is off"),
        "clip": (0.2, SCRIPT),
        "value_clip": (0.2, SCRIPT),
        "vf_coef": (1.0, CODE),
        "entropy_coef": (0.0, SCRIPT),
        "entropy_target": (35.0, CODE),
        "ptx_coef": (0.0, f"{SCRIPT}: the weight is 0 and the flag is off"),
        "critic_init": ("reward", SCRIPT),
        "critic_pretrain_steps": (0, f"{SCRIPT}: not implemented"),
    },
    "rloo": {"kl_coef": (0.05, BETWEEN)},
    "reinforce": {"kl_coef": (0.05, BETWEEN)},
    "vanilla_pg": {"kl_coef": (0.05, BETWEEN), "vf_coef": (0.1, "TRL's PPO")},
    "raft": {"kl_coef": (0.05, BETWEEN)},
    "reinforce_pp": {
        "kl_coef": (0.01, "arXiv 2501.03262 v1, the general setting; OpenRLHF's init_coef"),
        "score_clip": (10.0, f"{OPEN_RLHF}: reward clip ±10"),
        "gamma": (1.0, "arXiv 2501.03262, eq. 4"),
        "clip": (0.2, "arXiv 2501.03262 v1; OpenRLHF"),
    },
    "reinforce_pp_baseline": {
        "kl_coef": (0.01, f"{OPEN_RLHF}: init_coef; 1e-5 in its scripts"),
        "score_clip": (10.0, f"{OPEN_RLHF}: reward clip ±10"),
        "clip": (0.2, OPEN_RLHF),
    },
    "remax": {"kl_coef": (0.05, "the authors' code")},
    "remax_released": {
        "kl_coef": (0.05, "the authors' code"),
        "gamma": (0.99, "the authors' script"),
        "score_clip": (5.0, "the authors' code"),
    },
    "grpo": {
        "kl_coef": (0.04, "arXiv 2402.03300, section 4.2"),
        "clip": (0.2, "TRL, verl"),
        "std_eps": (1e-4, "TRL"),
    },
    "dr_grpo": {"kl_coef": (0.0, "arXiv 2503.20783: none"), "clip": (0.2, "TRL, verl")},
    "dapo": {
        "clip": (0.2, "arXiv 2503.14476, section 4.1"),
        "clip_high": (0.28, "arXiv 2503.14476, section 4.1"),
        "std_eps": (1e-6, "verl"),
        "refills": (9, "verl's script: max_num_gen_batches=10"),
        "overlong_coef": (1.0, "arXiv 2503.14476: at most -1"),
        "overlong_share": (0.2, "arXiv 2503.14476, section 4.1: 4,096 of 20,480 tokens"),
    },
    "gspo": {
        "clip": (3e-4, "arXiv 2507.18071, section 5.1"),
        "clip_high": (4e-4, "arXiv 2507.18071, section 5.1"),
        "std_eps": (1e-4, "TRL"),
    },
    "cispo": {"weight_cap": (5.0, "TRL's recommendation for epsilon_high"), "std_eps": (1e-4, "TRL")},
    "policy_gradient": {
        "baseline": ("leave_one_out", "arXiv 2402.14740, section 3.2"),
        "normalization": ("none", "arXiv 2402.14740"),
        "kl": ("sequence_reward", "arXiv 2402.14740, eq. 3"),
        "kl_coef": (0.05, BETWEEN),
        "aggregation": ("token_mean", "OpenRLHF, verl, TRL from 0.22 on"),
        "clip": (0.2, "arXiv 1707.06347, section 6.1"),
        "std_eps": (1e-4, "TRL's GRPO"),
    },
    "dpo": {"beta": (0.1, "arXiv 2305.18290, appendix B"), "label_smoothing": (0.0, "arXiv 2305.18290: none")},
    "ipo": {"beta": (0.1, "TRL; the released code of SAIL"), "over_tokens": ("sum", "arXiv 2310.12036, eq. 17")},
    "slic_norm": {"beta": (0.1, "TRL; the released code of SAIL")},
    "slic_hf": {"delta": (1.0, "arXiv 2305.10425"), "nll_coef": (0.1, "ContextualAI/HALOs")},
    "simpo": {
        "beta": (2.0, "arXiv 2405.14734: 2 to 2.5"),
        "gamma": (1.0, "arXiv 2405.14734: γ/β of about 0.5"),
    },
    "orpo": {"odds_coef": (0.1, "arXiv 2403.07691; TRL's beta")},
    "cpo": {"beta": (0.1, "arXiv 2401.08417; TRL"), "nll_coef": (1.0, "arXiv 2401.08417; TRL's cpo_alpha")},
    "kto": {
        "beta": (0.1, "arXiv 2402.01306; TRL"),
        "desirable_weight": (1.0, "TRL"),
        "undesirable_weight": (1.0, "TRL"),
    },
    "online_dpo": {"beta": (0.1, "TRL's OnlineDPO")},
    "iterative_dpo": {
        "beta": (0.1, "TRL's OnlineDPO"),
        "round_steps": (5, HERE),
        "reference": ("start", "arXiv 2312.11456"),
    },
    "sail_dp": {"beta": (0.1, SAIL), "share": (0.4, f"{SAIL}: r"), "rho": (0.2, SAIL)},
    "sail_pp": {"beta": (0.1, SAIL), "share": (0.3, f"{SAIL}: p"), "pi": (0.2, SAIL)},
    "sail_pr": {"beta": (0.1, SAIL), "share": (0.3, f"{SAIL}: g"), "gamma": (0.3, SAIL)},
    "sail_released": {
        "beta": (0.1, SAIL),
        "share": (0.3, f"{SAIL}: p"),
        "labels": ("policy", f"{SAIL}: PP"),
        "coef": (0.2, f"{SAIL}: pi"),
    },
}


@pytest.mark.parametrize("name", small.algorithms())
def test_the_defaults_are_those_of_their_sources(name: str) -> None:
    """What is composed for `algo=NAME`, which is what a run gets."""
    values = {field: value for field, value in small.of_yaml(name).items() if field != "name"}
    assert values == {field: value for field, (value, _) in DEFAULTS[name].items()}


def test_nothing_else_is_in_the_table() -> None:
    assert set(DEFAULTS) == set(small.algorithms())
    assert all(source for fields in DEFAULTS.values() for _, source in fields.values())
