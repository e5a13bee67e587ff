"""Dr. GRPO: GRPO without the two divisions that bias it, by the group's standard deviation and by each length.

Liu et al., Understanding R1-Zero-Like Training: A Critical Perspective, arXiv 2503.20783, section 3.

    Aᵢ = rᵢ - mean(r₁ … r_G), the same at every token
    L  = mean over completions of 1/T_max Σₜ max(-Aᵢ ρᵢₜ, -Aᵢ clip(ρᵢₜ, 1-ε, 1+ε)),   T_max = sampling.max_new_tokens

T_max is a constant, so that the gradient of the first update is RLOO's times (G-1)/G / T_max. With AdamW the constant
itself only matters beside train.max_grad_norm.
Other implementations under this name differ: verl divides by the width of the padded batch, which varies from step to
step, unless its `loss_scale_factor` is set; OpenRLHF leaves out the standard deviation alone and averages over tokens;
TRL's loss_type=dr_grpo divides by the constant, but its default still divides the scores by the standard deviation.
Choices: the paper trains without a KL penalty; kl_coef > 0 adds β k3 with the same division, as TRL does. ε = 0.2.
With one update a rollout, the default (train.epochs=1 train.minibatches=1), ρ is 1 and the clip never acts.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "dr_grpo")
@dataclass(frozen=True, kw_only=True)
class DrGRPO(Algorithm):
    """Scores centered within each group, PPO's clip, sums over tokens divided by a constant."""

    kl_coef: float = param(0.0, "β, weight of the per-token k3 penalty inside the loss; 0: none", low=0)
    clip: float = param(0.2, "ε, clip range of the ratio", above=0, tune=log(0.1, 0.4), infinite="no clip")

    @property
    def needs(self) -> Needs:
        """At least two samples per prompt, and the reference if there is a KL penalty."""
        return Needs(reference=self.kl_coef > 0, min_group_size=2)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Aᵢ at every token of completion i."""
        A = eq.spread(eq.centered_groups(x.score), x.mask)
        return Advantage(advantage=A, metrics=eq.reward_metrics(x, 0.0)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """The clipped surrogate plus β k3, summed over tokens and divided by completions times T_max."""
        assert x.longest is not None
        constant = x.sequences * x.longest
        policy = eq.clipped_surrogate(now.logp, x.logp_old, x.advantage, x.mask, clip=self.clip)
        loss = eq.masked_mean(policy.loss, x.mask, over=constant)
        metrics = eq.policy_metrics(loss, now, x, policy)
        if self.kl_coef > 0:
            kl = eq.masked_mean(
                eq.k3(eq.masked(now.logp, x.mask), eq.masked(x.logp_ref, x.mask)), x.mask, over=constant
            )
            loss = loss + self.kl_coef * kl
            metrics["loss/kl_avg"] = kl.detach()
        return LossOutput(loss=loss, metrics=metrics)
