"""SLiC-HF: a hinge on the policy's own log-probabilities, and a term that keeps it writing. No reference.

Zhao et al., SLiC-HF: Sequence Likelihood Calibration with Human Feedback, arXiv 2305.10425.

    L = mean over pairs of max(0, δ - log π(y_w) + log π(y_l)) - λ log π(y_target)        (summed over tokens)

The target of the second term is the chosen completion, as in the code of KTO's authors (ContextualAI/HALOs). The paper
takes the demonstration of the same prompt or, where it samples the candidates itself, the best of them: for given pairs
it has the demonstration alone. Preference pairs come without one, and their chosen completion is the better candidate.
The whole loss is then a function of the pair alone.

Choices: δ = 1 is the paper's. λ = 0.1 is that of ContextualAI/HALOs: log-probabilities are sums, so a target of fifty
tokens weighs as fifty tokens; with a large λ this is supervised fine-tuning on the chosen completions.
Departures: the "SLiC" of TRL (loss_type=hinge) and of SAIL's code is another loss, with a reference and without the
second term: algo=slic_norm.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "slic_hf")
@dataclass(frozen=True, kw_only=True)
class SLiCHF(Algorithm):
    """A hinge between chosen and rejected, and the likelihood of the chosen."""

    delta: float = param(
        1.0,
        "δ, margin of log π of the chosen over the rejected, beyond which there is no gradient",
        above=0,
        tune=log(0.3, 3.0),
    )
    nll_coef: float = param(
        0.1, "λ, weight of the negative log-likelihood of the chosen completion", low=0, tune=log(0.01, 1.0)
    )

    @property
    def needs(self) -> Needs:
        """Preference pairs in place of rollouts, and nothing else."""
        return Needs(pairs=1.0, min_group_size=2)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels +1 (chosen) and -1 (rejected) at every token."""
        return Advantage(advantage=eq.pair_labels(x.score, x.mask)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """The hinge plus λ times the negative log-likelihood, averaged over pairs."""
        pairs, label = x.sequences / 2, eq.label_of(x.advantage, x.mask)
        logp = eq.masked_sum(now.logp, x.mask)
        nll = -eq.of_label(logp, label, 1).sum() / pairs
        loss = eq.hinge(eq.gap(logp, label), delta=self.delta).sum() / pairs + self.nll_coef * nll
        metrics = eq.preference_metrics(loss, now, x, implicit=logp) | {"loss/nll_avg": nll.detach()}
        return LossOutput(loss=loss, metrics=metrics)
