"""ReMax: REINFORCE whose baseline is the score of the prompt's most likely completion.

Li et al., ReMax: A Simple, Effective, and Efficient Reinforcement Learning Method for Aligning Large Language Models,
arXiv 2310.10505, Algorithm 1.

    ȳ  = the greedy completion of x,   b(x) = r(x, ȳ)
    Rₜ = -β log π(yₜ)/π_ref(yₜ),  plus r(x, y) - b(x) at the last token;   Gₜ = Σ_{s≥t} Rₛ
    ∇J = mean over samples of Σₜ Gₜ ∇ log π(yₜ)

b does not depend on y, so the estimate is unbiased, with one sample per prompt. The greedy completion costs as much as
a sample: it is charged as one more completion, with its tokens and its judgement.
The authors' code differs from this gradient in four places: each token's return has only that token's own KL, not the
later ones'; the score is discounted (γ = 0.99 in its script); r - b is clipped to ±5; and the loss is averaged over
tokens: algo=remax_released computes that. verl sums the KL as here, and applies PPO's clipped loss to these advantages.
TRL and OpenRLHF have no algorithm of this name.
Choices: β = 0.05 is the code's. The paper draws one sample per prompt: set train.group_size=1.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "remax")
@dataclass(frozen=True, kw_only=True)
class ReMax(Algorithm):
    """REINFORCE with the greedy completion's score as baseline, KL inside the reward."""

    kl_coef: float = param(0.05, "β, weight of the per-token KL penalty inside the reward", low=0, tune=log(0.01, 0.3))

    @property
    def needs(self) -> Needs:
        """A greedy completion per prompt, and the reference if there is a KL penalty."""
        return Needs(reference=self.kl_coef > 0, greedy=True, single_update=True)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Gₜ of every token."""
        R = eq.token_reward(x, x.score - x.score_greedy.unsqueeze(-1), self.kl_coef)
        G = eq.reward_to_go(R, x.mask, gamma=1.0)
        return Advantage(advantage=G, metrics=eq.reward_metrics(x, self.kl_coef)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-Σₜ Gₜ log π(yₜ), averaged over sequences."""
        loss = eq.masked_mean(-x.advantage * now.logp, x.mask, over=x.sequences)
        return LossOutput(loss=loss, metrics=eq.policy_metrics(loss, now, x))
