"""CISPO: REINFORCE with capped importance weights, so that no token loses its gradient to a clip.

MiniMax, MiniMax-M1: Scaling Test-Time Compute Efficiently with Lightning Attention, arXiv 2506.13585, section 3.1.

    Aᵢ = (rᵢ - mean(r₁ … r_G)) / std(r₁ … r_G)
    L  = mean over all tokens of -sg(min(ρᵢₜ, 1+ε_high)) Aᵢ log π(yᵢₜ)                                  (eqs. 4 and 5)

PPO's clip takes away the gradient of a token whose ratio has left its range; here the weight alone is bounded, and sg
(stop-gradient) keeps it out of the derivative. Eq. 5 has a lower bound as well, which the paper's experiments do not
impose and which is left out here. There is no KL penalty.
Choices: the paper tunes ε_high and does not state it; 1 + ε_high = 5 is what TRL recommends, after arXiv 2510.13786
(TRL's `epsilon_high` is the whole bound, there called ε_max). The standard deviation is unbiased, plus 1e-4, as in
algo=grpo.
Departures: with one update a rollout, the default (train.epochs=1 train.minibatches=1), ρ is 1 and the bound never
acts; the paper makes several: train.minibatches=4, for example. The paper's training also has the dynamic sampling and
the length penalty of DAPO, which belong to algo=dapo here.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "cispo")
@dataclass(frozen=True, kw_only=True)
class CISPO(Algorithm):
    """Scores normalized within each group, importance weights with a cap and without gradient."""

    weight_cap: float = param(
        5.0, "1 + ε_high, the largest importance weight", low=1, tune=log(1.28, 5.0), infinite="no cap"
    )
    std_eps: float = param(1e-4, "added to the standard deviation of a group's scores", above=0)

    @property
    def needs(self) -> Needs:
        """At least two samples per prompt; no reference."""
        return Needs(min_group_size=2)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Aᵢ at every token of completion i."""
        A = eq.standardize_groups(x.score, eps=self.std_eps)
        return Advantage(advantage=eq.spread(A, x.mask), metrics=eq.reward_metrics(x, 0.0)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """The weighted negative log-probability, averaged over tokens."""
        policy = eq.capped_weight_surrogate(now.logp, x.logp_old, x.advantage, x.mask, cap=self.weight_cap)
        loss = eq.masked_mean(policy.loss, x.mask, over=x.tokens)
        return LossOutput(loss=loss, metrics=eq.policy_metrics(loss, now, x, policy))
