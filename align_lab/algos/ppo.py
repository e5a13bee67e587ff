"""PPO for language models: a token is an action, and a learned critic estimates the value of each prefix.

Schulman et al., Proximal Policy Optimization Algorithms, arXiv 1707.06347; over tokens, with the KL inside the reward:
Ziegler et al., arXiv 1909.08593, and Ouyang et al. (InstructGPT), arXiv 2203.02155.

    Rₜ = -β log π(yₜ)/π_ref(yₜ),  plus r(x, y) at the last token
    δₜ = Rₜ + γ V(sₜ₊₁) - V(sₜ),  Aₜ = δₜ + γλ Aₜ₊₁                        (GAE, arXiv 1506.02438, eq. 16)
    Gₜ = Aₜ + V(sₜ), the critic's target, computed before A is whitened
    L  = mean over tokens of max(-A ρ, -A clip(ρ, 1-ε, 1+ε)) + c · ½ max((V-G)², (V clipped around V_old - G)²)

Choices where implementations differ, and the implementations that make them:
    γ 1, λ 0.95, ε 0.2, value clip 0.2, c 0.1, β 0.05        TRL's PPO (γ, λ and both clips: MOSS-RLHF as well)
    A is whitened over all counted tokens of the rollout, with the unbiased variance + 1e-8  TRL, verl
    losses are averaged over all tokens of the minibatch     TRL, OpenRLHF, MOSS-RLHF
    the score is added at the last token, not at padding     OpenRLHF, MOSS-RLHF
    the critic is initialized from the policy, which every task has; arXiv 2307.04964 reports the same final reward as
    from a reward model
Libraries: TRL adds the score after the end of sequence, one step of GAE later; OpenRLHF and verl have λ = 1 and a value
clip of 0.5, and verl bounds the loss of negative advantages once more (dual clip), as OpenRLHF can.
Departures: with one update a rollout, the default (train.epochs=1 train.minibatches=1), ρ is 1 and V is V_old, so that
the two clips never act. The paper makes several updates, as TRL does with four epochs: train.epochs=4.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log, uniform
from align_lab.base.types import (
    Advantage,
    Batch,
    CriticNeeds,
    LossOutput,
    Needs,
    PolicyOutput,
    Rollout,
    State,
)


@register("algo", "ppo")
@dataclass(frozen=True, kw_only=True)
class PPO(Algorithm):
    """Token-level PPO with generalized advantage estimation and a learned critic."""

    kl_coef: float = param(0.05, "β, weight of the per-token KL penalty inside the reward", low=0, tune=log(0.01, 0.3))
    gamma: float = param(1.0, "γ, discount per token", low=0, high=1)
    lam: float = param(0.95, "λ of generalized advantage estimation", low=0, high=1, tune=uniform(0.9, 1.0))
    clip: float = param(0.2, "ε, clip range of the ratio", above=0, tune=log(0.1, 0.4), infinite="no clip")
    value_clip: float = param(0.2, "clip range of the value around its value at rollout", above=0, infinite="no clip")
    vf_coef: float = param(0.1, "c, weight of the value loss", low=0, tune=log(0.1, 1.0))

    @property
    def needs(self) -> Needs:
        """A critic initialized from the policy, and the reference if there is a KL penalty."""
        return Needs(reference=self.kl_coef > 0, critic=CriticNeeds(init="policy"))

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Whitened GAE, and the critic's targets G."""
        R = eq.token_reward(x, x.score, self.kl_coef)
        A = eq.gae(R, x.value, x.mask, gamma=self.gamma, lam=self.lam)
        G = eq.masked(A + x.value, x.mask)
        advantage = eq.whiten(A, x.mask, correction=1, eps=1e-8)
        return Advantage(advantage=advantage, returns=G, metrics=eq.reward_metrics(x, self.kl_coef)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """The clipped surrogate plus c times the clipped value loss, averaged over tokens."""
        policy = eq.clipped_surrogate(now.logp, x.logp_old, x.advantage, x.mask, clip=self.clip)
        value = eq.clipped_value_loss(now.value, x.value, x.returns, x.mask, clip=self.value_clip)
        L_policy = eq.masked_mean(policy.loss, x.mask, over=x.tokens)
        L_value = eq.masked_mean(value.loss, x.mask, over=x.tokens)
        metrics = eq.policy_metrics(L_policy, now, x, policy) | eq.value_metrics(L_value, x, value)
        return LossOutput(loss=L_policy + self.vf_coef * L_value, metrics=metrics)
