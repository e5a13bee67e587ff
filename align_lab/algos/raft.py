"""RAFT: of the policy's own samples, imitate the best one of each prompt.

Dong et al., RAFT: Reward rAnked FineTuning for Generative Foundation Model Alignment, arXiv 2304.06767; as the paper
that compares it with RLOO uses it, Ahmadian et al., arXiv 2402.14740, section 4: in the loop, ranked by R.

    R(x, y) = r(x, y) - β Σₜ log π(yₜ)/π_ref(yₜ)
    y_w     = the sample with the highest R of y₁ … y_G ~ π(· | x), the first one of several
    L       = mean over prompts of -Σₜ log π(y_wₜ)

It is supervised fine-tuning on data of its own, so that it needs no ratio, no baseline, and any number of updates is
right. Only the order of the scores matters. The other samples are discarded, but they are charged.
Choices: β = 0.05 as in algo=rloo; RAFT itself ranks by r alone (kl_coef=0). The loss is the likelihood of a whole
completion, as in the other losses of arXiv 2402.14740; LMFlow, the authors' code, averages over all tokens.
Departures: a group whose R are all equal has no winner and no gradient (its expected gradient would be 0). R that
differ by rounding, 1e-5 of their size, count as equal: log-probabilities of one text differ by rounding where policy
and reference are the same, and would choose between completions of one score. Once they are not, equal scores are
ranked by the KL alone (kl_coef=0: not at all). By default LMFlow keeps the best fifth of all completions of a batch,
whatever their prompt; that leaves out whole hard prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import among
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "raft")
@dataclass(frozen=True, kw_only=True)
class RAFT(Algorithm):
    """Maximum likelihood of the best of a group."""

    kl_coef: float = param(
        0.05,
        "β, weight of the KL penalty inside the reward that ranks the samples",
        low=0,
        tune=among(0.0, 0.01, 0.03, 0.05, 0.1),
    )

    @property
    def needs(self) -> Needs:
        """At least two samples per prompt, and the reference if there is a KL penalty."""
        return Needs(reference=self.kl_coef > 0, min_group_size=2, on_policy=False)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """1 at every token of the winner, 0 elsewhere."""
        R = x.score + eq.kl_penalty(x, self.kl_coef)
        won = eq.spread(eq.best(R), x.mask)
        return Advantage(advantage=won, metrics=eq.reward_metrics(x, self.kl_coef)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-Σₜ log π of the winners, averaged over prompts."""
        prompts = x.sequences / x.mask.shape[-2]
        loss = eq.masked_mean(-x.advantage * now.logp, x.mask, over=prompts)
        return LossOutput(loss=loss, metrics=eq.policy_metrics(loss, now, x))
