"""DAPO: GRPO with a higher upper clip, groups of equal scores sampled again, a mean over tokens, a length penalty.

Yu et al., DAPO: An Open-Source LLM Reinforcement Learning System at Scale, arXiv 2503.14476, section 3.

    Aᵢ = (Rᵢ - mean(R₁ … R_G)) / std(R₁ … R_G),   Rᵢ = rᵢ + c · p(|yᵢ|)
    p  = 0 up to L_max - L_cache tokens, then linearly down to -1 at L_max = sampling.max_new_tokens       (eq. 13)
    L  = mean over all tokens of max(-Aᵢ ρᵢₜ, -Aᵢ clip(ρᵢₜ, 1-ε_low, 1+ε_high)),   no KL                    (eq. 8)

Dynamic sampling (eq. 11): groups whose scores r are all equal have no gradient; further prompts are sampled in their
place until the step is full, at most `refills` times. What was rejected is charged. After the last prompt of the data
the first ones follow again, with other random numbers. A step that stays incomplete trains on what there is; without
any informative group it makes no update and says so; ten of them in a row stop the run. The paper keeps the groups
whose answers are neither all right nor all wrong, which is the same for a reward of 0 or 1. Scores are compared after
the end-of-sequence rule that all algorithms share (sampling.missing_eos_penalty), and before the length penalty, which
is added to that rule: with missing_eos_penalty=0 the penalty is the paper's alone.

Choices: ε_low = 0.2, ε_high = 0.28, L_cache = a fifth of L_max (4,096 of 20,480) and c = 1 are the paper's. Eq. 8
divides by the tokens of a prompt's group; here the mean is over those of the minibatch, as in the authors' code (verl),
which also has the unbiased variance, 1e-6 and at most ten batches per step. TRL's loss_type=dapo is the token mean.
Departures: with one update a rollout, the default (train.epochs=1 train.minibatches=1), ρ is 1 and the clip, its higher
upper bound included, never acts; the paper makes sixteen: train.minibatches=16. Overlong filtering, which leaves
truncated completions out of the loss, is not part of it, nor of the authors' code; most experiments of the paper do
without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import among, log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State

if TYPE_CHECKING:
    from torch import Tensor


@register("algo", "dapo")
@dataclass(frozen=True, kw_only=True)
class DAPO(Algorithm):
    """Scores normalized within each group, an asymmetric clip, dynamic sampling, a penalty for overlong completions."""

    clip: float = param(0.2, "ε_low, clip range of the ratio below 1", above=0, tune=log(0.1, 0.4), infinite="no clip")
    clip_high: float = param(
        0.28, "ε_high, clip range of the ratio above 1", above=0, tune=log(0.2, 0.5), infinite="no clip"
    )
    std_eps: float = param(1e-6, "added to the standard deviation of a group's scores", above=0)
    refills: int = param(9, "batches of prompts that a step may sample in place of groups of equal scores", low=0)
    overlong_coef: float = param(
        1.0, "c, weight of the penalty for overlong completions; 0: none", low=0, tune=among(0.0, 0.5, 1.0)
    )
    overlong_share: float = param(
        0.2, "L_cache / L_max, the last part of the length that is penalized", above=0, high=1
    )

    @property
    def needs(self) -> Needs:
        """At least two samples per prompt, and further prompts; no reference."""
        return Needs(min_group_size=2, refills=self.refills)

    def keep(self, x: Rollout) -> Tensor:
        """The groups [P] whose scores differ."""
        return eq.differing_groups(x.score)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Aᵢ at every token of completion i."""
        assert x.longest is not None
        penalty = self.overlong_coef * eq.overlong_penalty(x.mask, longest=x.longest, share=self.overlong_share)
        R = x.score + penalty.to(x.score)
        A = eq.spread(eq.standardize_groups(R, eps=self.std_eps), x.mask)
        metrics = {"objective/non_score_reward": (R - x.score).mean(), "objective/rlhf_reward": R.mean()}
        return Advantage(advantage=A, metrics=metrics), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """The clipped surrogate, averaged over tokens."""
        policy = eq.clipped_surrogate(
            now.logp, x.logp_old, x.advantage, x.mask, clip=self.clip, clip_high=self.clip_high
        )
        loss = eq.masked_mean(policy.loss, x.mask, over=x.tokens)
        return LossOutput(loss=loss, metrics=eq.policy_metrics(loss, now, x, policy))
