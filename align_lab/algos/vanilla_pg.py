"""Vanilla policy gradient: REINFORCE over tokens, with a learned critic as the baseline.

Ahmadian et al., Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback in LLMs,
arXiv 2402.14740, eq. 9 and "vanilla policy gradient" in its experiments.

    Rₜ = -β log π(yₜ)/π_ref(yₜ),  plus r(x, y) at the last token
    Gₜ = Σ_{s≥t} Rₛ,   Aₜ = Gₜ - V(sₜ)                                     (GAE with λ = 1 and γ = 1: no bootstrapping)
    L  = mean over completions of Σₜ -Aₜ log π(yₜ),   plus c · ½ mean over tokens of (V(sₜ) - Gₜ)²

It is PPO without what reduces variance at the price of bias, and without what keeps the policy close to the one that
sampled: no λ < 1, no ratio, no clip, no whitening. A token is an action, so that only the KL of later tokens counts.
Choices: the paper does not describe the critic's loss beyond PPO's; here it has no clip either, c = 0.1 is TRL's, and
the critic starts from the policy. β lies between the paper's 0.03 (TL;DR) and 0.10 (HH), as in algo=rloo.
TRL, OpenRLHF and verl have no algorithm of this name.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, CriticNeeds, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "vanilla_pg")
@dataclass(frozen=True, kw_only=True)
class VanillaPG(Algorithm):
    """REINFORCE over tokens with a learned baseline, KL inside the reward."""

    kl_coef: float = param(0.05, "β, weight of the per-token KL penalty inside the reward", low=0, tune=log(0.01, 0.3))
    vf_coef: float = param(0.1, "c, weight of the value loss", low=0, tune=log(0.1, 1.0))

    @property
    def needs(self) -> Needs:
        """A critic initialized from the policy, and the reference if there is a KL penalty."""
        return Needs(reference=self.kl_coef > 0, critic=CriticNeeds(init="policy"), single_update=True)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Aₜ = Gₜ - V(sₜ), and the critic's targets G."""
        R = eq.token_reward(x, x.score, self.kl_coef)
        G = eq.reward_to_go(R, x.mask, gamma=1.0)
        A = eq.masked(G - x.value, x.mask)
        return Advantage(advantage=A, returns=G, metrics=eq.reward_metrics(x, self.kl_coef)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-Σₜ Aₜ log π(yₜ), averaged over sequences, plus c times the squared error of the critic."""
        value = eq.clipped_value_loss(now.value, x.value, x.returns, x.mask, clip=float("inf"))
        L_policy = eq.masked_mean(-x.advantage * now.logp, x.mask, over=x.sequences)
        L_value = eq.masked_mean(value.loss, x.mask, over=x.tokens)
        metrics = eq.policy_metrics(L_policy, now, x) | eq.value_metrics(L_value, x, value)
        return LossOutput(loss=L_policy + self.vf_coef * L_value, metrics=metrics)
