"""Iterative DPO: online DPO in rounds, whose pairs are all sampled by the policy that the round begins with.

Xiong et al., Iterative Preference Learning from Human Feedback: Bridging Theory and Practice for RLHF under
KL-Constraint, arXiv 2312.11456. Pang et al., Iterative Reasoning Preference Optimization, arXiv 2404.19733.

    round m:  y₁ … y_G ~ π_m(· | x) for all prompts of the round;   y_w = the highest score, y_l = the lowest
              then round_steps updates with the DPO loss (arXiv 2305.18290, eq. 7), which end in π_{m+1}

With round_steps=1 this is online DPO; with as many as there are steps it is DPO on pairs of the start policy.

Choices: the reference is the start policy throughout, as in Xiong et al.; reference=round resets it to π_m at the start
of each round, as in Pang et al.: the constraint then holds each round near the one before, and the policy may move
further. Five steps a round are ours, the papers' rounds are larger: they pass over a whole set of prompts, three or
four times in all. A tie is left out, as in online_dpo.
Departures: Pang et al. add the likelihood of the chosen completion, which this does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from align_lab.algos.online_dpo import OnlineDPO
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Needs, RoundNeeds


@register("algo", "iterative_dpo")
@dataclass(frozen=True, kw_only=True)
class IterativeDPO(OnlineDPO):
    """Online DPO whose sampling policy, and on request the reference, change once a round."""

    round_steps: int = param(
        5, "steps of a round, for which its first policy samples all completions", low=1, tune=log(1, 20)
    )
    reference: Literal["start", "round"] = param(
        "start",
        "the reference: the start policy throughout, or the policy that the round begins with",
        choices=("start", "round"),
    )

    @property
    def needs(self) -> Needs:
        """Rounds, the reference, and at least two samples per prompt."""
        rounds = RoundNeeds(steps=self.round_steps, reference=self.reference)
        return Needs(reference=True, min_group_size=2, on_policy=False, rounds=rounds)
