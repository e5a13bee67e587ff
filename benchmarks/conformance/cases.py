"""What a comparison is, and which quantities there are. The rows are in `rollout_cases` and `pair_cases`.

`theirs` are fields of TRL's config and `ours` those of the component; what is not named has its default on each side.
`expected` is "equal", or the first quantity that differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

QUANTITIES = {
    "mask": "which tokens count",
    "prompt": "the gradient that tokens of the prompt have",
    "logp": "log-probabilities of the policy",
    "logp_old": "log-probabilities of the policy that sampled",
    "logp_ref": "log-probabilities of the reference",
    "advantage": "the advantage, or the label of a pair",
    "ratio": "what the gradient of a token is multiplied by once the policy has changed",
    "clip": "where the gradient vanishes",
    "denominator": "the weight of a token",
    "kl": "gradient of the KL term",
    "reference_point": "KTO's z₀, from completions of other prompts",
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
    trainer: str  # GRPO, RLOO, DPO, KTO, CPO, ORPO, OnlineDPO: the prefix of TRL's classes
    theirs: Mapping[str, Any] = field(default_factory=dict)
    ours: Mapping[str, Any] = field(default_factory=dict)
    state: str = "changed"  # "changed": the policy differs from the one that sampled; "first": the first update
    expected: str = "equal"
    because: str = ""  # what differs, and the fields that make both sides equal
    left_out: Mapping[str, str] = field(default_factory=dict)  # quantity -> why it is not compared
    tie: bool = False  # the two samples of the first prompt have the same score
    short: bool = False  # of the preference pairs only one, whose prompt is a single token

    @property
    def name(self) -> str:
        """Unique in the table."""
        return f"{self.algo}: {self.comparison}"
