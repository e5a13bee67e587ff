"""What is compared: one row an algorithm and comparison. A new algorithm adds its rows here.

`theirs` are fields of TRL's config and `ours` those of the component; what is not named has its default on each side.
`expected` is "equal", or the first quantity that differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

QUANTITIES = {
    "mask": "which tokens count",
    "logp": "log-probabilities of the policy",
    "logp_old": "log-probabilities of the policy that sampled",
    "logp_ref": "log-probabilities of the reference",
    "advantage": "the advantage, or the label of a pair",
    "ratio": "what the gradient of a token is multiplied by once the policy has changed",
    "clip": "where the gradient vanishes",
    "denominator": "the weight of a token",
    "kl": "gradient of the KL term",
    "offset": "loss of a policy that equals the reference",
    "loss": "value of the loss",
    "gradient": "gradient with respect to the log-probabilities",
}
DEFAULTS = "defaults"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison."""

    algo: str
    comparison: str  # "defaults", or what both sides are set to
    trainer: str  # GRPO, RLOO, DPO, OnlineDPO: the prefix of TRL's classes
    theirs: Mapping[str, Any] = field(default_factory=dict)
    ours: Mapping[str, Any] = field(default_factory=dict)
    state: str = "changed"  # "changed": the policy differs from the one that sampled; "first": the first update
    expected: str = "equal"
    because: str = ""  # what differs, and the fields that make both sides equal
    left_out: Mapping[str, str] = field(default_factory=dict)  # quantity -> why it is not compared
    tie: bool = False  # the two samples of the first prompt have the same score

    @property
    def name(self) -> str:
        """Unique in the table."""
        return f"{self.algo}: {self.comparison}"


REINFORCE_VALUE = {"loss": "ours is -A log π, TRL's is -A ρ with ρ = 1: other values, the same gradient"}

CASES = (
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
    Case(algo="dpo", comparison=DEFAULTS, trainer="DPO", because="the same equation and the same defaults"),
    Case(
        algo="dpo",
        comparison="beta 0.5",
        trainer="DPO",
        theirs={"beta": 0.5},
        ours={"beta": 0.5},
    ),
    Case(
        algo="dpo",
        comparison="label smoothing",
        trainer="DPO",
        theirs={"label_smoothing": 0.1, "loss_type": ["robust"]},
        ours={"label_smoothing": 0.1},
        expected="denominator",
        because="TRL 1.16 has no conservative DPO: its loss_type=robust (Chowdhury et al.) subtracts the flipped term "
        "and divides by 1-2ε; algo.label_smoothing=0 and loss_type=sigmoid are equal",
    ),
    Case(
        algo="online_dpo",
        comparison=DEFAULTS,
        trainer="OnlineDPO",
        expected="logp",
        because="TRL computes the log-probabilities at temperature 1 whatever temperature it samples with; here they "
        "have sampling.temperature: set both to 1",
    ),
    Case(
        algo="online_dpo",
        comparison="temperature 1",
        trainer="OnlineDPO",
        theirs={"temperature": 1.0},
    ),
    Case(
        algo="online_dpo",
        comparison="equal scores",
        trainer="OnlineDPO",
        theirs={"temperature": 1.0},
        tie=True,
        expected="advantage",
        because="of two equal scores TRL takes the first completion as the chosen one; here they have no gradient",
    ),
)

WITHOUT_COUNTERPART = {
    "ppo": "TRL 1.16 has no PPO any more",
    "ppo_max": "TRL has no PPO-max",
    "reinforce": "no trainer of TRL has a baseline that moves over steps",
    "reinforce_pp": "no trainer of TRL normalizes returns per token over the batch",
}
"""Algorithms that are compared with golden values of other code (tests/golden) alone."""
