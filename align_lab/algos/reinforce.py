"""REINFORCE with a moving-average baseline, the simplest policy gradient here.

Williams 1992; for language models: Ahmadian et al., arXiv 2402.14740, eqs. 6 to 8.

    R(x, y) = r(x, y) - β Σₜ log π(yₜ)/π_ref(yₜ)
    b_MA    = mean of R over all completions of all *previous* steps            (0 in the first step)
    ∇J      = mean over samples of (R - b_MA) ∇ Σₜ log π(yₜ)

The baseline is the plain (not exponential) mean over the whole run. It excludes the current step, so it does not depend
on the samples that it is subtracted from. There is no ratio, no clip and no division by length.
Choices: the paper uses β = 0.03 (TL;DR) and 0.10 (HH) at 6.9 B parameters; 0.05 lies between them.
Libraries: OpenRLHF's `reinforce` is REINFORCE++ (algo=reinforce_pp); TRL and verl have no moving-average baseline.
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


@register("algo", "reinforce")
@dataclass(frozen=True, kw_only=True)
class Reinforce(Algorithm):
    """REINFORCE with a running-mean baseline, KL inside the reward."""

    kl_coef: float = param(0.05, "β, weight of the KL penalty inside the reward", low=0, tune=log(0.01, 0.3))

    @property
    def needs(self) -> Needs:
        """The reference, if there is a KL penalty."""
        return Needs(reference=self.kl_coef > 0, single_update=True)

    def init_state(self) -> State:
        """Running moments of the reward; the baseline is their mean."""
        return eq.initial_moments()

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """A = R - b_MA at every token; the baseline then includes this step's rewards."""
        R = x.score + eq.kl_penalty(x, self.kl_coef)
        A = R - state["mean"].to(R)
        advantage = Advantage(advantage=eq.spread(A, x.mask), metrics=eq.reward_metrics(x, self.kl_coef))
        return advantage, eq.update_moments(state, R)

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-A Σₜ log π(yₜ), averaged over sequences."""
        loss = eq.masked_mean(-x.advantage * now.logp, x.mask, over=x.sequences)
        return LossOutput(loss=loss, metrics=eq.policy_metrics(loss, now, x))
