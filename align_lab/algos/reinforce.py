"""REINFORCE with a moving-average baseline, the simplest of all.

Williams 1992; for language models: Ahmadian et al., arXiv 2402.14740, eqs. 6 to 8.

    R(x, y) = r(x, y) - β Σₜ log π(yₜ)/π_ref(yₜ)
    b_MA    = mean of R over all completions of all *previous* steps            (0 before the first)
    ∇J      = mean over samples of (R - b_MA) ∇ Σₜ log π(yₜ)

The mean is over the whole training, not an exponential one, and leaves the present step out, so that the baseline does
not depend on the samples that it is subtracted from. No ratio, no clip, no division by length.
β: the paper uses 0.03 (TL;DR) and 0.10 (HH) at 6.9 B parameters; 0.05 lies between, and is RLOO's here.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.registry import param, register
from align_lab.base.types import Advantage, Algorithm, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "reinforce")
@dataclass(frozen=True, kw_only=True)
class Reinforce(Algorithm):
    """REINFORCE with a running-mean baseline, KL inside the reward."""

    kl_coef: float = param(0.05, "β, weight of the KL penalty inside the reward", low=0)

    @property
    def needs(self) -> Needs:
        return Needs(reference=self.kl_coef > 0)

    def init_state(self) -> State:
        return eq.no_moments()

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        R = x.score + eq.kl_penalty(x, self.kl_coef)
        A = R - state["mean"].to(R)
        found = Advantage(advantage=eq.spread(A, x.mask), metrics=eq.reward_metrics(x, self.kl_coef))
        return found, eq.add_moments(state, R)

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        loss = eq.masked_mean(-x.advantage * now.logp, x.mask, over=x.sequences)
        return LossOutput(loss=loss, metrics=eq.policy_metrics(loss, now, x))
