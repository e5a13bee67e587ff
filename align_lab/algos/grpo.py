"""GRPO: PPO's clipped surrogate without a critic, on scores normalized within the group of a prompt.

Shao et al., DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models, arXiv 2402.03300.

    Aᵢ = (rᵢ - mean(r₁ … r_G)) / std(r₁ … r_G), the same at every token    (section 4.1.2, outcome supervision)
    Lᵢₜ = max(-Aᵢ ρᵢₜ, -Aᵢ clip(ρᵢₜ, 1-ε, 1+ε)) + β k3(π ‖ π_ref)           (eqs. 3 and 4: the KL is part of the loss)
    L   = mean over completions of the mean over the completion's tokens of Lᵢₜ

Later defaults under this name differ: TRL since 0.16 and verl average over all tokens instead, and have β = 0 (TRL
since 0.19). With β > 0, TRL 1.16 multiplies k3 by the ratio unless use_bias_correction_kl=false (docs/conformance.md).
Choices: β = 0.04 is the paper's. It states neither ε nor which standard deviation: ε = 0.2, the unbiased variance and
1e-4 added to the standard deviation are TRL's; rounding differences between equal scores stay small beside it. The
paper samples groups of 64; here train.group_size says how many. OpenRLHF's group_norm adds 1e-9, averages over all
tokens, and by default puts k1 into the reward after the normalization; verl adds 1e-6 and has no KL by default.
With one update a rollout, the default (train.epochs=1 train.minibatches=1) and the paper's, ρ is 1 and the clip never
acts.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "grpo")
@dataclass(frozen=True, kw_only=True)
class GRPO(Algorithm):
    """Scores normalized within each group, PPO's clip, the KL inside the loss."""

    kl_coef: float = param(0.04, "β, weight of the per-token KL penalty inside the loss", low=0, tune=log(0.01, 0.3))
    clip: float = param(0.2, "ε, clip range of the ratio", above=0, tune=log(0.1, 0.4), infinite="no clip")
    std_eps: float = param(1e-4, "added to the standard deviation of a group's scores", above=0)

    @property
    def needs(self) -> Needs:
        """At least two samples per prompt, and the reference if there is a KL penalty."""
        return Needs(reference=self.kl_coef > 0, min_group_size=2)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Aᵢ at every token of completion i."""
        A = eq.standardize_groups(x.score, eps=self.std_eps)
        return Advantage(advantage=eq.spread(A, x.mask), metrics=eq.reward_metrics(x, 0.0)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """The clipped surrogate plus β k3, averaged over tokens and then over sequences."""
        policy = eq.clipped_surrogate(now.logp, x.logp_old, x.advantage, x.mask, clip=self.clip)
        loss = eq.mean_of_means(policy.loss, x.mask, over=x.sequences)
        metrics = eq.policy_metrics(loss, now, x, policy)
        if self.kl_coef > 0:
            per_token = eq.k3(eq.masked(now.logp, x.mask), eq.masked(x.logp_ref, x.mask))
            kl = eq.mean_of_means(per_token, x.mask, over=x.sequences)
            loss = loss + self.kl_coef * kl
            metrics["loss/kl_avg"] = kl.detach()
        return LossOutput(loss=loss, metrics=metrics)
