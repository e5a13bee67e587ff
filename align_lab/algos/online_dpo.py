"""Online DPO: pairs from the policy as it is, labelled during training.

Guo et al., Direct Language Model Alignment from Online AI Feedback, arXiv 2402.04792; the annotator is the reward.

    y₁ … y_G ~ π(· | x);   y_w = the sample with the highest score, y_l = the lowest
    L = mean over prompts of -log σ(β z),   z as in DPO (arXiv 2305.18290, eq. 7)

There is no gradient through sampling, and the reference stays the start policy. β 0.1 is the paper's and TRL's. The
loss prefers within pairs wherever they come from: it is no expectation under the policy that sampled, so where another
engine samples, importance weights (sampling.importance_cap) have nothing to correct and are not applied.

Departures: the paper draws two samples, here a group of any size gives its best and its worst. A prompt whose scores
are all equal prefers nothing: its z is 0, it adds log 2 to the loss and no gradient, and counts as a pair that is not
predicted right (TRL calls the first sample the chosen one, and pushes).
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.registry import param, register
from align_lab.base.types import Advantage, Algorithm, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "online_dpo")
@dataclass(frozen=True, kw_only=True)
class OnlineDPO(Algorithm):
    """DPO on the best and the worst of the policy's own samples."""

    beta: float = param(0.1, "β, how strongly the policy is held to the reference", above=0)

    @property
    def needs(self) -> Needs:
        return Needs(reference=True, min_group_size=2, on_policy=False)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        return Advantage(advantage=eq.spread(eq.best_and_worst(x.score), x.mask)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        pairs = x.sequences / x.mask.shape[-2]
        z = eq.log_ratio_gap(now.logp, x.logp_ref, x.advantage, x.mask)
        loss = eq.dpo(z, beta=self.beta).sum() / pairs
        return LossOutput(loss=loss, metrics=eq.preference_metrics(loss, now, x, beta=self.beta))
