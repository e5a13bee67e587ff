"""Online DPO: the DPO loss on pairs that the current policy samples and the reward labels during training.

Guo et al., Direct Language Model Alignment from Online AI Feedback, arXiv 2402.04792, with the reward as annotator.

    y₁ … y_G ~ π(· | x);   y_w = the sample with the highest score, y_l = the one with the lowest
    L = mean over prompts of -log σ(β z),   z as in DPO (arXiv 2305.18290, eq. 7)

No gradient flows through sampling, and the reference is the start policy throughout. β = 0.1 is TRL's default. The loss
does not depend on the distribution that the pairs came from: it is not an expectation under the sampling policy.
Importance weights (sampling.importance_cap) for another engine's samples are therefore not applied.

Departures: the paper draws two samples per prompt; here the best and the worst of a group of any size form the pair. A
prompt whose scores are all equal expresses no preference: its z is 0, so it adds log 2 to the loss but no gradient, and
it counts as an incorrectly predicted pair (TRL takes the first sample as the chosen one and has a gradient).
TRL 1.16 computes log-probabilities at temperature 1 at any sampling temperature; here they have that of sampling.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "online_dpo")
@dataclass(frozen=True, kw_only=True)
class OnlineDPO(Algorithm):
    """DPO on the best and the worst of the policy's own samples."""

    beta: float = param(
        0.1, "β, strength of the implicit KL constraint toward the reference", above=0, tune=log(0.03, 0.3)
    )

    @property
    def needs(self) -> Needs:
        """The reference, and at least two samples per prompt."""
        return Needs(reference=True, min_group_size=2, on_policy=False)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels +1 (best of the group), -1 (worst) and 0 (others) at every token."""
        return Advantage(advantage=eq.spread(eq.best_and_worst(x.score), x.mask)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-log σ(β z), averaged over prompts."""
        pairs = x.sequences / x.mask.shape[-2]
        log_ratio = eq.log_ratio(now.logp, x.logp_ref, x.mask)
        z = eq.gap(log_ratio, eq.label_of(x.advantage, x.mask))
        loss = eq.dpo(z, beta=self.beta).sum() / pairs
        return LossOutput(loss=loss, metrics=eq.preference_metrics(loss, now, x, implicit=self.beta * log_ratio))
