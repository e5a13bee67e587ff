"""SAIL-DP: DPO where the policy draws the labels of some pairs of the set itself.

Ding et al., SAIL: Self-Improving Efficient Online Alignment of Large Language Models, arXiv 2406.15567 (called DDP in
its first version: prompts and completions of the data set, preferences of the policy).

    z = log π(y₁)/π_ref(y₁) - log π(y₂)/π_ref(y₂);   F = log σ(β z) of the label's order
    a share r of the pairs:  label ~ Bernoulli(σ(β z)),  gradient -∇F - ρ F ∇F
    the others:              label of the data,          gradient -∇F         (DPO, arXiv 2305.18290, eq. 7)

-F ∇F is the gradient through the distribution of the label, and integrates to -½ F². The expectation of ∇F over labels
of the policy is 0, so with ρ = 0 the share r adds noise and nothing else; with ρ it lowers the entropy of σ(β z): the
policy grows surer of the order that it has.

Choices: r = 0.4, ρ = 0.2 and β = 0.1 are those of the released code. Which pairs have labels of the policy is drawn for
every pair at every use, as there. Labels are drawn from the policy of the update, also in later epochs.
Departures: with a share r, the released code also multiplies the number of epochs by 1/(1-r). Here the budget is what
every other algorithm has.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log, uniform
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "sail_dp")
@dataclass(frozen=True, kw_only=True)
class SAILDP(Algorithm):
    """DPO with some labels that the policy draws, and the gradient through them."""

    beta: float = param(
        0.1, "β, strength of the implicit KL constraint toward the reference", above=0, tune=log(0.03, 0.3)
    )
    share: float = param(
        0.4, "r, share of the pairs whose label the policy draws", low=0, high=1, tune=uniform(0.2, 0.4)
    )
    rho: float = param(
        0.2, "ρ, weight of the gradient through the distribution of the labels", low=0, tune=uniform(0.0, 0.5)
    )

    @property
    def needs(self) -> Needs:
        """Preference pairs in place of rollouts, the reference, and random numbers for shares and labels."""
        return Needs(pairs=1.0, reference=True, min_group_size=2, noise=True)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels of the set, +1 (chosen) and -1 (rejected), at every token."""
        return Advantage(advantage=eq.pair_labels(x.score, x.mask)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-F, and -ρ/2 F² where the policy has drawn the label, averaged over pairs."""
        pairs, label = x.sequences / 2, eq.label_of(x.advantage, x.mask)
        implicit = self.beta * eq.log_ratio(now.logp, x.logp_ref, x.mask)
        own = x.noise[:, 0] < self.share
        drawn = eq.policy_label(eq.gap(implicit, label), x.noise[:, 1])
        label = eq.relabeled(label, drawn, own)
        F = eq.log_preference(eq.gap(implicit, label))
        loss = (-F + self.rho * own * eq.through_labels(F)).sum() / pairs
        metrics = eq.preference_metrics(loss, now, x, implicit=implicit, label=label)
        return LossOutput(loss=loss, metrics=metrics | {"rewards/policy_labels": own.to(F).sum() / pairs})
