"""Released ReMax: what its authors' code computes, for the record; algo=remax is the paper's.

Li et al., ReMax: A Simple, Effective, and Efficient Reinforcement Learning Method for Aligning Large Language Models,
arXiv 2310.10505; github.com/liziniu/ReMax at 536ba49, step3_rlhf_finetuning.

    ȳ  = the greedy completion of x,   b(x) = r(x, ȳ)
    Gₜ = γ^{T-t+1} clip(r(x, y) - b(x), ±c) - β log π(yₜ)/π_ref(yₜ)         (T: the last token, which has γ itself)
    L  = mean over tokens of -Gₜ log π(yₜ)

It differs from Algorithm 1 in four places. The KL of later tokens is not counted: the accumulator is assigned where it
should be added to. The score is discounted, once more than its distance from the end. r - b is clipped. The loss is
averaged over tokens, so that long completions weigh more.
Choices: β = 0.05 and c = 5 are the code's defaults, γ = 0.99 its script's.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "remax_released")
@dataclass(frozen=True, kw_only=True)
class ReMaxReleased(Algorithm):
    """ReMax with a discounted, clipped score and the immediate KL of each token."""

    kl_coef: float = param(0.05, "β, weight of each token's own KL penalty", low=0, tune=log(0.01, 0.3))
    gamma: float = param(0.99, "γ, discount of the score per token", above=0, high=1)
    score_clip: float = param(5.0, "c, clip of the score minus the greedy one's", above=0, infinite="no clip")

    @property
    def needs(self) -> Needs:
        """A greedy completion per prompt, and the reference if there is a KL penalty."""
        return Needs(reference=self.kl_coef > 0, greedy=True, single_update=True)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Gₜ of every token."""
        r = (x.score - x.score_greedy.unsqueeze(-1)).clamp(-self.score_clip, self.score_clip)
        discounted = self.gamma * eq.reward_to_go(eq.at_end(r, x.mask), x.mask, gamma=self.gamma)
        G = discounted + eq.token_penalty(x, self.kl_coef)
        return Advantage(advantage=G, metrics=eq.reward_metrics(x, self.kl_coef)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-Gₜ log π(yₜ), averaged over tokens."""
        loss = eq.masked_mean(-x.advantage * now.logp, x.mask, over=x.tokens)
        return LossOutput(loss=loss, metrics=eq.policy_metrics(loss, now, x))
