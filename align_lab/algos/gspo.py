"""GSPO: GRPO whose ratio and clip are those of the whole completion.

Zheng et al., Group Sequence Policy Optimization, arXiv 2507.18071, section 4.

    Aᵢ = (rᵢ - mean(r₁ … r_G)) / std(r₁ … r_G)
    sᵢ = (π(yᵢ)/π_old(yᵢ))^(1/|yᵢ|) = exp(mean over tokens of log ρᵢₜ)                                   (eq. 7)
    L  = mean over completions of max(-Aᵢ sᵢ, -Aᵢ clip(sᵢ, 1-ε_low, 1+ε_high))                          (eq. 5)

A completion is one action with one score, so it has one ratio; the exponent keeps ratios of different lengths in one
range. That range is far smaller than the one of token ratios: ε_low = 3e-4 and ε_high = 4e-4 are the paper's
(section 5.1), with four updates per rollout (train.minibatches=4; with one update the clip never acts). There is
no KL penalty. TRL reproduces it with importance_sampling_level="sequence" and loss_type="grpo"; its defaults differ.
Choices: the paper states neither the standard deviation nor what is added to it: the unbiased one and 1e-4, as in
algo=grpo.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "gspo")
@dataclass(frozen=True, kw_only=True)
class GSPO(Algorithm):
    """Scores normalized within each group, one clipped ratio per completion."""

    clip: float = param(
        3e-4, "ε_low, clip range of a completion's ratio below 1", above=0, tune=log(0.0001, 0.003), infinite="no clip"
    )
    clip_high: float = param(
        4e-4, "ε_high, clip range of a completion's ratio above 1", above=0, tune=log(0.0001, 0.004), infinite="no clip"
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
        """The clipped surrogate of each completion; its mean over tokens is the same at all of them."""
        policy = eq.sequence_surrogate(
            now.logp, x.logp_old, x.advantage, x.mask, clip=self.clip, clip_high=self.clip_high
        )
        loss = eq.mean_of_means(policy.loss, x.mask, over=x.sequences)
        return LossOutput(loss=loss, metrics=eq.policy_metrics(loss, now, x, policy))
