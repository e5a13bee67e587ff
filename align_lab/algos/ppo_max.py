"""PPO-max: PPO with the combination of tricks that its authors recommend after ablating twelve of them.

Zheng et al., Secrets of RLHF in Large Language Models Part I: PPO, arXiv 2307.04964, section 5.4.

    r̃  = clip((r - mean_hist) / std_hist, ±δ)                              score, normalized by its running moments
    Rₜ = -β log π(yₜ)/π_ref(yₜ),  plus r̃ at the last token                 token-level KL, the most important trick
    A  = GAE(R, V; γ, λ),  G = A + V                                        not normalized in addition to the score
    L  = mean over tokens of max(-A ρ, -A clip(ρ, 1±ε)) + c · ½ max((V-G)², (V clipped - G)²)
         - c_ptx · mean over human tokens of log π                          (PPO-ptx, InstructGPT eq. 2)

The critic is initialized from the reward model and pre-trained alone while the policy is frozen. The global gradient
clip and the small buffer of the recommendation are fields of the training loop: train.max_grad_norm=1,
train.minibatches=1.

The twelve tricks of figure 5, and the value that disables each:
     1 token-level KL         kl_coef=0                    7 value-loss clip         value_clip=.inf
     2 importance sampling    always on: the ratio ρ       8 critic initialization   critic_init, critic_pretrain_steps
     3 entropy bonus          entropy_coef=0 (default)     9 policy initialization   the SFT stage
     4 reward scaling         score_norm=none             10 GAE                     lam=1
     5 reward norm and clip   score_norm, score_clip      11 clipped surrogate       clip=.inf
     6 advantage norm, clip   advantage_* (default off)   12 gradient clip           train.max_grad_norm=.inf

Choices: δ = 0.8 is the larger of the two values tried, as recommended; β = 0.05 is the main setting; λ = 0.9 is the
paper's (0.95 in its code); γ, ε, c and the value clip are the code's. The paper states neither the weight of the
pre-training loss nor the number of critic pre-training steps: 0.1 and 5 steps are choices made here. With 0.1 the
gradient of that loss is not small: on the default task its norm was 15 to 52 % of that of the policy loss in the first
twelve steps of two seeds, least at the beginning. ptx_coef=0.01 makes it a tenth of that.
Departures: with one update a rollout, the default (train.epochs=1 train.minibatches=1), ρ is 1 and V is V_old, so that
tricks 7 and 11 never act; the paper makes four (128 samples in minibatches of 32): train.minibatches=4. Advantages are
whitened over the whole rollout (in the code over each minibatch); the first score, whose standard deviation is not
defined yet, is not rescaled (the code divides by 0). The paper's reward model is trained with a language-model term
(weight 1) that the one here lacks, as does that of the authors' script.
The entropy loss |mean entropy - target| is that of the whole minibatch, for which the policy reads the minibatch once
more before its loss; the code's target of 35 nats exceeds ln V of any vocabulary, so the term is a plain entropy bonus.
The authors' released training script behaves differently: see algo=ppo_max_moss_script.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import among, log, uniform
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

if TYPE_CHECKING:
    from torch import Tensor


@register("algo", "ppo_max")
@dataclass(frozen=True, kw_only=True)
class PPOMax(Algorithm):
    """PPO with score normalization and clip, token-level KL, a pre-trained critic and a language-model (PTX) loss."""

    kl_coef: float = param(
        0.05, "β, weight of the per-token KL penalty inside the reward; 0: none", low=0, tune=log(0.01, 0.2)
    )
    score_norm: Literal["standardize", "scale", "none"] = param(
        "standardize",
        "normalization of the score by its running moments: standardize (mean and std), scale (std only), none",
        choices=("standardize", "scale", "none"),
    )
    score_clip: float = param(0.8, "δ, clip of the normalized score", above=0, tune=log(0.3, 2.0), infinite="no clip")
    gamma: float = param(1.0, "γ, discount per token", low=0, high=1)
    lam: float = param(0.9, "λ of generalized advantage estimation", low=0, high=1, tune=uniform(0.9, 1.0))
    advantage_norm: Literal["batch", "none"] = param(
        "none", "batch: whiten advantages over the tokens of the rollout; none", choices=("batch", "none")
    )
    advantage_clip: float = param(float("inf"), "clip of the advantages", above=0, infinite="no clip")
    clip: float = param(0.2, "ε, clip range of the ratio", above=0, tune=log(0.1, 0.4), infinite="no clip")
    value_clip: float = param(0.2, "clip range of the value around its value at rollout", above=0, infinite="no clip")
    vf_coef: float = param(1.0, "c, weight of the value loss", low=0, tune=log(0.1, 1.0))
    entropy_coef: float = param(0.0, "weight of |mean entropy - entropy_target|; 0: none", low=0)
    entropy_target: float = param(35.0, "target of the entropy loss, nats per token", low=0)
    ptx_coef: float = param(
        0.1, "c_ptx, weight of the language-model loss on human text; 0: none", low=0, tune=among(0.0, 0.1, 1.0)
    )
    critic_init: Literal["reward", "policy"] = param(
        "reward", "model that the critic is initialized from", choices=("reward", "policy")
    )
    critic_pretrain_steps: int = param(
        5, "steps that train only the critic, before the first policy update", low=0, tune=uniform(0, 20)
    )

    @property
    def needs(self) -> Needs:
        """A critic; the reference, entropy and human text if their weights are not 0."""
        critic = CriticNeeds(init=self.critic_init, pretrain_steps=self.critic_pretrain_steps)
        return Needs(
            reference=self.kl_coef > 0,
            critic=critic,
            entropy=self.entropy_coef > 0,
            statistics=self.entropy_coef > 0,
            pretrain_batch=self.ptx_coef > 0,
        )

    def init_state(self) -> State:
        """Running moments of the score."""
        return eq.initial_moments()

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """GAE on the normalized score, and the critic's targets G."""
        state = eq.update_moments(state, x.score)
        R = eq.token_reward(x, self.shape_score(x.score, state), self.kl_coef)
        A = eq.gae(R, x.value, x.mask, gamma=self.gamma, lam=self.lam)
        G = eq.masked(A + x.value, x.mask)
        advantage = self.shape_advantage(A, x.mask)
        return Advantage(advantage=advantage, returns=G, metrics=eq.reward_metrics(x, self.kl_coef)), state

    def shape_score(self, r: Tensor, state: State) -> Tensor:
        """Tricks 4 and 5: r [P G] and the running moments, which include r -> r̃ [P G]."""
        mean, std = state["mean"].to(r), eq.running_std(state).to(r)
        shaped = {"standardize": (r - mean) / std, "scale": r / std, "none": r}[self.score_norm]
        return shaped.clamp(-self.score_clip, self.score_clip)

    def shape_advantage(self, A: Tensor, mask: Tensor) -> Tensor:
        """Trick 6: [P G T] -> [P G T]. The variance is biased, plus 1e-6 inside the root, as in the authors' code."""
        shaped = {"batch": eq.whiten(A, mask, correction=0, eps=1e-6), "none": A}[self.advantage_norm]
        return shaped.clamp(-self.advantage_clip, self.advantage_clip)

    def statistics(self, now: PolicyOutput, x: Batch) -> dict[str, Tensor]:
        """Mean entropy minus target over the minibatch, whose sign says in which direction the entropy is to move."""
        return {"entropy_gap": eq.masked_mean(now.entropy - self.entropy_target, x.mask, over=x.tokens)}

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """Policy and value losses as in PPO, plus the entropy and pre-training terms that are enabled."""
        policy = eq.clipped_surrogate(now.logp, x.logp_old, x.advantage, x.mask, clip=self.clip)
        value = eq.clipped_value_loss(now.value, x.value, x.returns, x.mask, clip=self.value_clip)
        L_policy = eq.masked_mean(policy.loss, x.mask, over=x.tokens)
        L_value = eq.masked_mean(value.loss, x.mask, over=x.tokens)
        loss = L_policy + self.vf_coef * L_value
        metrics = eq.policy_metrics(L_policy, now, x, policy) | eq.value_metrics(L_value, x, value)
        if now.entropy is not None:
            part = eq.masked_mean(now.entropy - self.entropy_target, x.mask, over=x.tokens)
            loss = loss + self.entropy_coef * x.statistics["entropy_gap"].to(part).sign() * part
        if now.logp_pretrain is not None:  # only one micro-batch of each minibatch has the human text
            L_human = -eq.masked_mean(now.logp_pretrain, now.mask_pretrain, over=now.tokens_pretrain)
            loss = loss + self.ptx_coef * L_human
            metrics["loss/pretrain_avg"] = L_human.detach()
        return LossOutput(loss=loss, metrics=metrics)
