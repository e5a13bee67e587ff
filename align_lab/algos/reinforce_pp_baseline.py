"""REINFORCE++ with a baseline: the group's mean is subtracted, then the global batch normalizes; KL as a k2 loss.

Hu et al., REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global Advantage Normalization,
arXiv 2501.03262 v9, "REINFORCE++ w/ baseline", and the authors' code (OpenRLHF, `reinforce_baseline`).

    A'ᵢ = clip(rᵢ - mean(r₁ … r_G), ±c), the same at every token
    Aᵢ  = (A'ᵢ - mean) / std, over all tokens of the global batch
    L   = mean over tokens of max(-A ρ, -A clip(ρ, 1-ε, 1+ε)) + λ k2(π ‖ π_ref)

k2 as a loss has the gradient of KL(π ‖ π_ref), which k3, the choice of GRPO, does not have.
Where paper and code differ, this follows the code: the mean is over tokens (eq. 1 divides by each sequence's length),
the variance is biased and floored at 1e-8, and the clip to ±10 comes after the group's mean. Every token weighs the
same, so that the global mean is not 0 although every group is centered: where the longer completions are the worse
ones, it is negative, and a group of equal scores has a small positive advantage.
verl takes the unbiased variance + 1e-8 and adds no KL; OpenRLHF's defaults put k1 into the reward instead, k2 needs
two flags of its own.
Choices: λ = 0.01 and ε = 0.2 are the defaults of the code; its scripts for mathematics have λ = 1e-5.
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


@register("algo", "reinforce_pp_baseline")
@dataclass(frozen=True, kw_only=True)
class ReinforcePPBaseline(Algorithm):
    """REINFORCE++ on scores centered within each group, with the KL inside the loss."""

    kl_coef: float = param(0.01, "λ, weight of the per-token k2 penalty inside the loss", low=0, tune=log(1e-05, 0.1))
    score_clip: float = param(10.0, "c, clip of the centered score", above=0, infinite="no clip")
    clip: float = param(0.2, "ε, clip range of the ratio", above=0, tune=log(0.1, 0.4), infinite="no clip")

    @property
    def needs(self) -> Needs:
        """At least two samples per prompt, and the reference if there is a KL penalty."""
        return Needs(reference=self.kl_coef > 0, min_group_size=2)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Centered within the group, whitened over the tokens of the batch."""
        centered = eq.centered_groups(x.score).clamp(-self.score_clip, self.score_clip)
        A = eq.whiten(eq.spread(centered, x.mask), x.mask, correction=0, floor=1e-8)
        return Advantage(advantage=A, metrics=eq.reward_metrics(x, 0.0)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """The clipped surrogate plus λ k2, both averaged over tokens."""
        policy = eq.clipped_surrogate(now.logp, x.logp_old, x.advantage, x.mask, clip=self.clip)
        loss = eq.masked_mean(policy.loss, x.mask, over=x.tokens)
        metrics = eq.policy_metrics(loss, now, x, policy)
        if self.kl_coef > 0:
            per_token = eq.k2(eq.masked(now.logp, x.mask), eq.masked(x.logp_ref, x.mask))
            kl = eq.masked_mean(per_token, x.mask, over=x.tokens)
            loss = loss + self.kl_coef * kl
            metrics["loss/kl_avg"] = kl.detach()
        return LossOutput(loss=loss, metrics=metrics)
