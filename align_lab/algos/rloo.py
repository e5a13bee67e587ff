"""RLOO: REINFORCE with a leave-one-out baseline.

Ahmadian et al., Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback in LLMs,
arXiv 2402.14740.

    R(x, y)  = r(x, y) - β Σₜ log π(yₜ)/π_ref(yₜ)                         (eq. 3: the KL is part of the reward)
    Aᵢ       = Rᵢ - 1/(G-1) Σ_{j≠i} Rⱼ                                     (section 3.2)
    ∇J       = mean over samples of Aᵢ ∇ Σₜ log π(yᵢₜ)                     (a completion is one action)

There is no ratio, no clip, and no division by length or by a standard deviation. Other implementations under this name
differ: TRL clips the ratio of whole sequences; OpenRLHF clips per token and excludes the KL from the baseline; verl
clips per token, averages over all tokens, and has the KL in the baseline only where it is put into the reward.
Choices: the paper uses β = 0.03 (TL;DR) and 0.10 (HH) at 6.9 B parameters; 0.05 is TRL's default.
Departures: the paper makes two gradient steps with each batch of samples. Here it is one: without a ratio the second
would treat the samples as if the updated policy had drawn them (train.epochs x train.minibatches must be 1).
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "rloo")
@dataclass(frozen=True, kw_only=True)
class RLOO(Algorithm):
    """REINFORCE with a leave-one-out baseline, KL inside the reward."""

    kl_coef: float = param(0.05, "β, weight of the KL penalty inside the reward", low=0, tune=log(0.01, 0.3))

    @property
    def needs(self) -> Needs:
        """At least two samples per prompt, and the reference if there is a KL penalty."""
        return Needs(reference=self.kl_coef > 0, min_group_size=2, single_update=True)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Aᵢ at every token of completion i."""
        R = x.score + eq.kl_penalty(x, self.kl_coef)
        A = R - eq.leave_one_out(R)
        return Advantage(advantage=eq.spread(A, x.mask), metrics=eq.reward_metrics(x, self.kl_coef)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-A Σₜ log π(yₜ), averaged over sequences."""
        loss = eq.masked_mean(-x.advantage * now.logp, x.mask, over=x.sequences)
        return LossOutput(loss=loss, metrics=eq.policy_metrics(loss, now, x))
