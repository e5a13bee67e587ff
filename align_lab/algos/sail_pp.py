"""SAIL-PP: DPO on a mixture of given pairs and of pairs that the policy samples and labels itself. No reward.

Ding et al., SAIL: Self-Improving Efficient Online Alignment of Large Language Models, arXiv 2406.15567 (called DPP in
its first version: completions of the policy, preferences of the policy).

    F = log σ(β z) of a label's order, z as in DPO (arXiv 2305.18290, eq. 7)
    a share p of the groups:  y₁, y₂ ~ π(· | x),  label ~ Bernoulli(σ(β z)),
                              gradient -∇F - π (F ∇F + F ∇(log π(y₁) + log π(y₂)))
    the others:               pairs of the set,   gradient -∇F               (DPO)

F ∇F is the gradient through the distribution of the label, and F ∇ log π that through the completions: exact score
functions, averaged over the pairs of the minibatch. The policy's own preference is all that labels the sampled pairs;
what it knows of the reward comes from the pairs of the set.

Choices: p = 0.3, π = 0.2 and β = 0.1 are those of the released code.
Departures from the released code, which algo=sail_released reproduces: it divides the score function of a completion by
its log-probability, has the opposite sign there, and does not average it over the minibatch. Its generated pairs are
kept and used again later, and mixed up with the prompts of others; here each is sampled for the step that uses it. The
share p is exact to within one group, where the released code draws it, and the number of epochs is not raised for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log, uniform
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "sail_pp")
@dataclass(frozen=True, kw_only=True)
class SAILPP(Algorithm):
    """DPO on given pairs and on samples that the policy labels, with exact gradients."""

    beta: float = param(
        0.1, "β, strength of the implicit KL constraint toward the reference", above=0, tune=log(0.03, 0.3)
    )
    share: float = param(
        0.3, "p, share of the groups that the policy samples and labels", above=0, high=1, tune=uniform(0.1, 0.5)
    )
    pi: float = param(
        0.2, "π, weight of the gradient through labels and completions of the policy", low=0, tune=uniform(0.0, 0.5)
    )

    @property
    def needs(self) -> Needs:
        """A mixture of pairs and two samples a prompt, the reference, and random numbers for the labels."""
        return Needs(
            pairs=1 - self.share,
            reference=True,
            min_group_size=2,
            max_group_size=2,
            noise=True,
            on_policy=False,
            single_update=self.pi > 0,
        )

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels of the set, +1 (chosen) and -1 (rejected); of sampled completions the first is +1 until drawn."""
        return Advantage(advantage=eq.pair_labels(x.score, x.mask)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-F, and for sampled pairs π times both score functions, averaged over all pairs."""
        pairs, label, own = x.sequences / 2, eq.label_of(x.advantage, x.mask), eq.sampled(x)
        implicit = self.beta * eq.log_ratio(now.logp, x.logp_ref, x.mask)
        drawn = eq.policy_label(eq.gap(implicit, label), x.noise[:, 0])
        label = eq.relabeled(label, drawn, own)
        F = eq.log_preference(eq.gap(implicit, label))
        extra = eq.through_labels(F) + eq.through_completions(F, eq.masked_sum(now.logp, x.mask))
        loss = (-F + self.pi * own * extra).sum() / pairs
        metrics = eq.preference_metrics(loss, now, x, implicit=implicit, label=label)
        return LossOutput(loss=loss, metrics=metrics | {"rewards/policy_labels": own.to(F).sum() / pairs})
