"""SAIL as its released code computes it, for the record: another gradient than that of the paper's equations.

Ding et al., arXiv 2406.15567; GeneralizedDPOTrainer.dpo_loss[generalized_sigmoid] of the released repository.

    F = log σ(β z) of a label's order, z as in DPO (arXiv 2305.18290, eq. 7);   B pairs in a minibatch
    labels=policy (PP):  1/B (-∇F - π F ∇F) - π Σ_g F/log π(y_g) ∇ log π(y_g)
    labels=reward (PR):  1/B (-∇F)          - γ Σ_g F/log π(y_g) ∇ log π(y_g)

The last term, a hook on the gradient, is to be the score function of the completions, -π F ∇ log π(y_g) / B. It divides
by the log-probability as if that were the probability; since both F and log π are negative, its sign is the opposite:
it raises the probability of what the policy wrote, most where the pair is ordered wrongly. It shrinks with the length
of a completion and grows with the number of pairs. `sail_pp` and `sail_pr` have the exact gradients.

Not reproduced: prompts are shuffled there before generation, and completions then joined with the unshuffled ones, so
that most pairs have the prompt of another; generated pairs are kept and used again; and the hook is not divided by the
number of accumulated micro-batches, so that their size changes the result. Here the sum is over the minibatch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "sail_released")
@dataclass(frozen=True, kw_only=True)
class SAILReleased(Algorithm):
    """SAIL-PP or SAIL-PR with the gradient of the released code."""

    beta: float = param(0.1, "β, strength of the implicit KL constraint toward the reference", above=0)
    share: float = param(0.3, "p or g, share of the groups that the policy samples", above=0, high=1)
    labels: Literal["policy", "reward"] = param(
        "policy", "who labels the sampled pairs: policy (PP) or reward (PR)", choices=("policy", "reward")
    )
    coef: float = param(
        0.2, "π or γ, weight of the additional terms; the released code has 0.2 for PP, 0.3 for PR", low=0
    )

    @property
    def needs(self) -> Needs:
        """A mixture of pairs and two samples a prompt, the reference, and random numbers for the policy's labels."""
        return Needs(
            pairs=1 - self.share,
            reference=True,
            min_group_size=2,
            max_group_size=2,
            noise=self.labels == "policy",
            on_policy=False,
            single_update=self.coef > 0,
        )

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels +1 and -1 of the set; of sampled pairs those of the scores, or +1 for the first until drawn."""
        by_reward = self.labels == "reward"
        label = eq.mixed_labels(x.score, x.mask, x.origin) if by_reward else eq.pair_labels(x.score, x.mask)
        return Advantage(advantage=label), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-F and the policy's labels averaged over all pairs, and the released hook summed over the sampled pairs."""
        pairs, label, own = x.sequences / 2, eq.label_of(x.advantage, x.mask), eq.sampled(x)
        implicit = self.beta * eq.log_ratio(now.logp, x.logp_ref, x.mask)
        if self.labels == "policy":
            drawn = eq.policy_label(eq.gap(implicit, label), x.noise[:, 0])
            label = eq.relabeled(label, drawn, own)
        F = eq.log_preference(eq.gap(implicit, label))
        through_labels = self.coef * own * eq.through_labels(F) if self.labels == "policy" else 0.0
        hook = self.coef * own * eq.through_completions_released(F, eq.masked_sum(now.logp, x.mask))
        loss = (-F + through_labels).sum() / pairs + hook.sum()
        return LossOutput(loss=loss, metrics=eq.preference_metrics(loss, now, x, implicit=implicit, label=label))
