"""Comparisons of algorithms that sample. A new algorithm adds its rows here, or the reason why TRL has none."""

from __future__ import annotations

from benchmarks.conformance.cases import DEFAULTS, Case

REINFORCE_VALUE = {"loss": "ours is -A log π, TRL's is -A ρ with ρ = 1: other values, the same gradient"}

ROLLOUT_CASES = (
    Case(
        algo="grpo",
        comparison=DEFAULTS,
        trainer="GRPO",
        expected="denominator",
        because="TRL's loss_type=dapo is a mean over all tokens (ours: over the tokens of a completion, then over "
        "completions), and it has no KL term (beta=0, ours algo.kl_coef=0.04): set loss_type=grpo beta=0.04 "
        "use_bias_correction_kl=false",
    ),
    Case(
        algo="grpo",
        comparison="the paper's",
        trainer="GRPO",
        theirs={"beta": 0.04, "loss_type": "grpo", "use_bias_correction_kl": False},
    ),
    Case(
        algo="grpo",
        comparison="the paper's loss type and β alone",
        trainer="GRPO",
        theirs={"beta": 0.04, "loss_type": "grpo"},
        expected="kl",
        because="TRL multiplies the KL estimate by the ratio, through which a gradient flows; eq. 4 of the paper does "
        "not: use_bias_correction_kl=false",
    ),
    Case(
        algo="grpo",
        comparison="without KL",
        trainer="GRPO",
        theirs={"loss_type": "grpo"},
        ours={"kl_coef": 0.0},
    ),
    Case(
        algo="grpo",
        comparison="TRL's default loss without KL",
        trainer="GRPO",
        ours={"kl_coef": 0.0},
        expected="denominator",
        because="loss_type=dapo averages over all tokens: set loss_type=grpo",
    ),
    Case(
        algo="rloo",
        comparison=DEFAULTS,
        trainer="RLOO",
        expected="ratio",
        because="TRL multiplies by the ratio of whole completions and clips it (epsilon=0.2); the paper has neither. "
        "Both are 1 in the first update with a rollout: num_iterations=1, steps_per_generation=1 there, and here "
        "train.epochs=1 train.minibatches=1, which is all that is accepted",
        left_out=REINFORCE_VALUE,
    ),
    Case(
        algo="rloo",
        comparison="first update of a rollout",
        trainer="RLOO",
        state="first",
        left_out=REINFORCE_VALUE,
    ),
    Case(
        algo="rloo",
        comparison="normalize_advantages",
        trainer="RLOO",
        theirs={"normalize_advantages": True},
        state="first",
        expected="advantage",
        because="TRL can normalize the advantages over the batch, which the paper does not: normalize_advantages=false",
        left_out=REINFORCE_VALUE,
    ),
    Case(
        algo="dr_grpo",
        comparison=DEFAULTS,
        trainer="GRPO",
        theirs={"loss_type": "dr_grpo"},
        expected="advantage",
        because="TRL's loss_type=dr_grpo still divides the scores by the group's standard deviation: "
        "scale_rewards=none",
    ),
    Case(
        algo="dr_grpo",
        comparison="the paper's",
        trainer="GRPO",
        theirs={"loss_type": "dr_grpo", "scale_rewards": "none"},
    ),
    Case(
        algo="dr_grpo",
        comparison="with KL",
        trainer="GRPO",
        theirs={"loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.04, "use_bias_correction_kl": False},
        ours={"kl_coef": 0.04},
    ),
    Case(
        algo="dapo",
        comparison=DEFAULTS,
        trainer="GRPO",
        expected="advantage",
        because="TRL has the token mean alone: here long completions are penalized (algo.overlong_coef=0; TRL's "
        "get_soft_overlong_punishment is a reward function), and 1e-6 is added to the standard deviation "
        "(algo.std_eps=1e-4); TRL clips at 0.2 on both sides (epsilon_high=0.28) and samples no group again",
    ),
    Case(
        algo="dapo",
        comparison="clip-higher, token mean",
        trainer="GRPO",
        theirs={"epsilon_high": 0.28},
        ours={"overlong_coef": 0.0, "std_eps": 1e-4},
    ),
    Case(
        algo="gspo",
        comparison=DEFAULTS,
        trainer="GRPO",
        theirs={"importance_sampling_level": "sequence"},
        expected="clip",
        because="TRL keeps GRPO's clip range, a thousand times the paper's, and the token mean: epsilon=3e-4 "
        "epsilon_high=4e-4 loss_type=grpo",
    ),
    Case(
        algo="gspo",
        comparison="the paper's",
        trainer="GRPO",
        theirs={
            "importance_sampling_level": "sequence",
            "loss_type": "grpo",
            "epsilon": 3e-4,
            "epsilon_high": 4e-4,
        },
    ),
    Case(
        algo="cispo",
        comparison=DEFAULTS,
        trainer="GRPO",
        theirs={"loss_type": "cispo"},
        expected="ratio",
        because="TRL's epsilon_high is the bound of the weight itself, so its default bounds all weights by 0.2: "
        "epsilon_high=5",
    ),
    Case(
        algo="cispo",
        comparison="weights up to 5",
        trainer="GRPO",
        theirs={"loss_type": "cispo", "epsilon_high": 5.0},
    ),
)
