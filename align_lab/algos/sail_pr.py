"""SAIL-PR: DPO on a mixture of given pairs and of pairs that the policy samples and the reward labels.

Ding et al., SAIL: Self-Improving Efficient Online Alignment of Large Language Models, arXiv 2406.15567 (called DPR in
its first version: completions of the policy, preferences of the reward).

    F = log σ(β z) of a label's order, z as in DPO (arXiv 2305.18290, eq. 7)
    a share g of the groups:  y₁, y₂ ~ π(· | x),  the higher score is chosen,
                              gradient -∇F - γ F ∇(log π(y₁) + log π(y₂))
    the others:               pairs of the set,   gradient -∇F               (DPO)

F ∇ log π is the gradient through the distribution of the completions, an exact score function, averaged over the pairs
of the minibatch: the policy learns to write pairs that it orders as the reward does. With γ = 0 this is DPO on a share
1-g of the groups and online DPO on the others.

Choices: g = 0.3, γ = 0.3 and β = 0.1 are those of the released code, whose labels are not drawn either.
Departures: two equal scores express no preference: such a pair has no gradient, and adds log 2 to the loss. From the
released code as in SAIL-PP; algo=sail_released reproduces its gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log, uniform
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "sail_pr")
@dataclass(frozen=True, kw_only=True)
class SAILPR(Algorithm):
    """DPO on given pairs and on samples that the reward labels, with exact gradients."""

    beta: float = param(
        0.1, "β, strength of the implicit KL constraint toward the reference", above=0, tune=log(0.03, 0.3)
    )
    share: float = param(
        0.3,
        "g, share of the groups that the policy samples and the reward labels",
        above=0,
        high=1,
        tune=uniform(0.1, 0.5),
    )
    gamma: float = param(
        0.3, "γ, weight of the gradient through the policy's completions", low=0, tune=uniform(0.0, 0.5)
    )

    @property
    def needs(self) -> Needs:
        """A mixture of pairs and two samples a prompt, and the reference."""
        return Needs(
            pairs=1 - self.share,
            reference=True,
            min_group_size=2,
            max_group_size=2,
            on_policy=False,
            single_update=self.gamma > 0,
        )

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels +1 and -1 of the set, or of the scores where the policy has sampled (0 for a tie), at every token."""
        return Advantage(advantage=eq.mixed_labels(x.score, x.mask, x.origin)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-F, and for sampled pairs γ times the score function of the completions, averaged over all pairs."""
        pairs, label = x.sequences / 2, eq.label_of(x.advantage, x.mask)
        implicit = self.beta * eq.log_ratio(now.logp, x.logp_ref, x.mask)
        F = eq.log_preference(eq.gap(implicit, label))
        own = eq.sampled(x) & label.ne(0).any(-1)
        extra = eq.through_completions(F, eq.masked_sum(now.logp, x.mask))
        loss = (-F + self.gamma * own * extra).sum() / pairs
        return LossOutput(loss=loss, metrics=eq.preference_metrics(loss, now, x, implicit=implicit))
