"""REINFORCE++: PPO's clipped surrogate without a critic, on returns normalized over the global batch.

Hu et al., REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global Advantage Normalization,
arXiv 2501.03262 v9, and the authors' code (OpenRLHF).

    Rₜ = -β log π(yₜ)/π_ref(yₜ),  plus clip(r(x, y), ±c) at the last token
    Gₜ = Σ_{s≥t} γ^{s-t} Rₛ                                                 (eq. 4; γ = 1)
    Aₜ = (Gₜ - mean) / std, over all tokens of the global batch             (eq. 5)
    L  = mean over tokens of max(-A ρ, -A clip(ρ, 1-ε, 1+ε))

Where paper and code differ, this follows the code: every token has its own return (in appendix B.2 only the last one);
the mean is over tokens (eq. 1 divides by each sequence's length); the variance is biased and floored at 1e-8 (eq. 5
adds a constant to the std); of the paper's reward normalization, clipping and scaling, only the clip to ±10 is applied.
Choices: β = 0.01 and ε = 0.2 are the general setting of v1 and the defaults of the code, for billions of parameters.
verl has the unbiased variance + 1e-8, no clip of the score, and a KL only where it is put into the reward. TRL has no
algorithm of this name: its RLOO with normalized advantages is another one.
Departures: with one update a rollout, the default (train.epochs=1 train.minibatches=1), ρ is 1 and the clip never acts;
OpenRLHF makes eight (1,024 samples in batches of 128): train.minibatches=8.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "reinforce_pp")
@dataclass(frozen=True, kw_only=True)
class ReinforcePP(Algorithm):
    """REINFORCE with PPO's clip and advantages normalized over the global batch."""

    kl_coef: float = param(0.01, "β, weight of the per-token KL penalty inside the reward", low=0, tune=log(0.001, 0.1))
    score_clip: float = param(10.0, "c, clip of the score", above=0, infinite="no clip")
    gamma: float = param(1.0, "γ, discount per token", low=0, high=1)
    clip: float = param(0.2, "ε, clip range of the ratio", above=0, tune=log(0.1, 0.4), infinite="no clip")

    @property
    def needs(self) -> Needs:
        """The reference, if there is a KL penalty."""
        return Needs(reference=self.kl_coef > 0)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Whitened discounted returns of every token."""
        r = x.score.clamp(-self.score_clip, self.score_clip)
        R = eq.token_reward(x, r, self.kl_coef)
        G = eq.reward_to_go(R, x.mask, gamma=self.gamma)
        A = eq.whiten(G, x.mask, correction=0, floor=1e-8)
        return Advantage(advantage=A, metrics=eq.reward_metrics(x, self.kl_coef)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """The clipped surrogate, averaged over tokens."""
        policy = eq.clipped_surrogate(now.logp, x.logp_old, x.advantage, x.mask, clip=self.clip)
        loss = eq.masked_mean(policy.loss, x.mask, over=x.tokens)
        return LossOutput(loss=loss, metrics=eq.policy_metrics(loss, now, x, policy))
