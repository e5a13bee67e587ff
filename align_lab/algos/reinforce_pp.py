"""REINFORCE++: token-level returns, normalised over the whole batch, with PPO's clip and no critic.

Hu et al., REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global Advantage Normalization,
arXiv 2501.03262 v9, and the authors' code (OpenRLHF).

    Rₜ = -β log π(yₜ)/π_ref(yₜ),  and + clip(r(x, y), ±c) at the last token
    Gₜ = Σ_{s≥t} γ^{s-t} Rₛ                                                 (eq. 4; γ = 1)
    Aₜ = (Gₜ - mean) / std, over all tokens of the global batch             (eq. 5)
    L  = mean over tokens of max(-A ρ, -A clip(ρ, 1-ε, 1+ε))

Where paper and code differ, this is the code: every token carries its return (appendix B.2 gives it to the last only);
the mean is over tokens (eq. 1 divides by each length); the variance is biased and floored at 1e-8 (eq. 5 adds to the
std); of the reward's normalisation, clipping and scaling, only the clip to ±10 is there.
β 0.01 and ε 0.2 are v1's general setting and the code's defaults, at billions of parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.registry import param, register
from align_lab.base.types import Advantage, Algorithm, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "reinforce_pp")
@dataclass(frozen=True, kw_only=True)
class ReinforcePP(Algorithm):
    """REINFORCE with PPO's clip and advantages normalised over the global batch."""

    kl_coef: float = param(0.01, "β, weight of the per-token KL penalty inside the reward", low=0)
    score_clip: float = param(10.0, "c, clip of the score; .inf is none", above=0)
    gamma: float = param(1.0, "γ, discount a token", low=0, high=1)
    clip: float = param(0.2, "ε, clip range of the ratio; .inf is none", above=0)

    @property
    def needs(self) -> Needs:
        return Needs(reference=self.kl_coef > 0)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        r = x.score.clamp(-self.score_clip, self.score_clip)
        R = eq.token_reward(x, r, self.kl_coef)
        G = eq.reward_to_go(R, x.mask, gamma=self.gamma)
        A = eq.whiten(G, x.mask, correction=0, floor=1e-8)
        return Advantage(advantage=A, metrics=eq.reward_metrics(x, self.kl_coef)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        policy = eq.clipped_surrogate(now.logp, x.logp_old, x.advantage, x.mask, clip=self.clip)
        loss = eq.masked_mean(policy.loss, x.mask, over=x.tokens)
        return LossOutput(loss=loss, metrics=eq.policy_metrics(loss, now, x, policy))
