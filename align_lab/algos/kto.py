"""KTO: learns from single completions that are desirable or not, by how people value gains and losses.

Ethayarajh et al., KTO: Model Alignment as Prospect Theoretic Optimization, arXiv 2402.01306.

    r(y) = Σₜ log π(yₜ)/π_ref(yₜ)
    z₀   = max(0, mean of r over completions of *other* prompts)             (an estimate of the KL)
    L    = mean over completions of λ_D (1 - σ(β (r - z₀))) where y is desirable
                                 or λ_U (1 - σ(β (z₀ - r))) where it is not  (section 4.1)

z₀ has no gradient. It is computed over the whole minibatch, whatever the micro-batches and the number of processes:
each prompt is joined with the completion before it in the minibatch, as TRL rotates them, or, where that one has the
same prompt, with the nearest of another.

Each completion is an example of its own, so a step holds as many completions as a step of DPO. Unpaired preferences
(prompt, completion, label) are learned from as they are, with `preferences.source=data`; of a set of pairs the chosen
completion is desirable and the rejected one is not.

Choices: β = 0.1 and λ_D = λ_U = 1 are the defaults of paper and TRL. For unequal numbers n_D and n_U the paper asks for
λ_D n_D / (λ_U n_U) between 1 and 3/2 in its last version (eq. 9), and between 1 and 4/3 in earlier ones and in TRL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State

if TYPE_CHECKING:
    from torch import Tensor


@register("algo", "kto")
@dataclass(frozen=True, kw_only=True)
class KTO(Algorithm):
    """Prospect-theoretic optimization on completions that are desirable or not."""

    beta: float = param(0.1, "β, how fast the value of a gain or a loss saturates", above=0, tune=log(0.03, 0.3))
    desirable_weight: float = param(1.0, "λ_D, weight of desirable completions", low=0, tune=log(1.0, 1.5))
    undesirable_weight: float = param(1.0, "λ_U, weight of undesirable completions", low=0)

    @property
    def needs(self) -> Needs:
        """Single completions with a score of 1 or 0, the reference, and z₀ before the loss."""
        return Needs(pairs=1.0, paired=False, reference=True, mismatched=True, statistics=True)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels +1 (desirable, a score above one half) and -1 (undesirable) at every token."""
        label = 2.0 * (x.score > 0.5).to(x.score) - 1.0
        return Advantage(advantage=eq.spread(label, x.mask)), state

    def statistics(self, now: PolicyOutput, x: Batch) -> Mapping[str, Tensor]:
        """The mean log-ratio of completions of other prompts, and how many completions are desirable."""
        log_ratio = eq.log_ratio(now.logp_mismatched, x.logp_ref_mismatched, now.mask_mismatched)
        desirable = eq.label_of(x.advantage, x.mask) == 1
        return {"log_ratio": log_ratio.sum() / x.sequences, "desirable": desirable.sum()}

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """λ (1 - σ(±β (r - z₀))), averaged over completions."""
        label = eq.label_of(x.advantage, x.mask)
        log_ratio = eq.log_ratio(now.logp, x.logp_ref, x.mask)
        z0 = x.statistics["log_ratio"].clamp(min=0).to(log_ratio)
        weight = self.desirable_weight * (label == 1) + self.undesirable_weight * (label == -1)
        loss = (weight * eq.kto(log_ratio, label, z0, beta=self.beta)).sum() / x.sequences
        metrics = eq.unpaired_metrics(loss, now, x, implicit=self.beta * log_ratio)
        return LossOutput(loss=loss, metrics=metrics | {"rewards/reference_point": z0 * label.numel() / x.sequences})
