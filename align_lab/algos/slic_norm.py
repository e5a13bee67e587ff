"""SLiC with a reference: DPO's log-ratio gap under a hinge in place of the logistic loss.

Liu et al., Statistical Rejection Sampling Improves Preference Optimization, arXiv 2309.06657 (hinge-norm).

    z = log π(y_w)/π_ref(y_w) - log π(y_l)/π_ref(y_l)                       (log-probabilities summed over tokens)
    L = mean over pairs of max(0, 1 - β z)

A pair whose implicit rewards differ by 1 or more gives no gradient any more: a support vector machine where DPO is a
logistic regression. This is what libraries call SLiC or "hinge" (TRL's DPOTrainer, SAIL's baseline); the loss of the
SLiC-HF paper, which has no reference, is algo=slic_hf.

Choices: β (the paper's γ, 0.05 there) = 0.1 is the default of TRL and of SAIL's baseline. The paper's rejection
sampling is not part of it: pairs come from `preferences`, as for DPO.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "slic_norm")
@dataclass(frozen=True, kw_only=True)
class SLiCNorm(Algorithm):
    """A hinge on the log-ratio gap of a fixed set of pairs."""

    beta: float = param(
        0.1, "β, scale of the log-ratios: pairs with a gap beyond 1/β have no gradient", above=0, tune=log(0.03, 0.3)
    )

    @property
    def needs(self) -> Needs:
        """Preference pairs in place of rollouts, and the reference."""
        return Needs(pairs=1.0, reference=True, min_group_size=2)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels +1 (chosen) and -1 (rejected) at every token."""
        return Advantage(advantage=eq.pair_labels(x.score, x.mask)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """max(0, 1 - β z), averaged over pairs."""
        pairs, label = x.sequences / 2, eq.label_of(x.advantage, x.mask)
        implicit = self.beta * eq.log_ratio(now.logp, x.logp_ref, x.mask)
        loss = eq.hinge(eq.gap(implicit, label)).sum() / pairs
        return LossOutput(loss=loss, metrics=eq.preference_metrics(loss, now, x, implicit=implicit))
