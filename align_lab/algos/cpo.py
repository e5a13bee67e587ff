"""CPO: DPO with a uniform reference, which cancels, and the likelihood of the chosen completion in its place.

Xu et al., Contrastive Preference Optimization: Pushing the Boundaries of LLM Performance in Machine Translation,
arXiv 2401.08417.

    L_prefer = mean over pairs of -log σ(β log π(y_w) - β log π(y_l))        (log-probabilities summed)
    L        = L_prefer + α L_NLL,   L_NLL = the negative log-likelihood of y_w       (section 3, α = 1)

Choices: β = 0.1 and α = 1 are the paper's and TRL's (cpo_alpha). As in the authors' code and in TRL, L_NLL is per
token: the equation's sum over tokens would outweigh L_prefer by the length.
Departures: it is the mean over pairs of a completion's mean over tokens; TRL averages over all tokens of a batch, so
that long completions weigh more.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "cpo")
@dataclass(frozen=True, kw_only=True)
class CPO(Algorithm):
    """Reference-free preference optimization with a likelihood term."""

    beta: float = param(0.1, "β, scale of the log-probabilities", above=0, tune=log(0.03, 0.3))
    nll_coef: float = param(
        1.0, "α, weight of the negative log-likelihood of the chosen completion", low=0, tune=log(0.1, 1.0)
    )

    @property
    def needs(self) -> Needs:
        """Preference pairs in place of rollouts, and nothing else."""
        return Needs(pairs=1.0, min_group_size=2)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels +1 (chosen) and -1 (rejected) at every token."""
        return Advantage(advantage=eq.pair_labels(x.score, x.mask)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-log σ(β log π(y_w) - β log π(y_l)) plus α times the negative log-likelihood, averaged over pairs."""
        pairs, label = x.sequences / 2, eq.label_of(x.advantage, x.mask)
        implicit = self.beta * eq.masked_sum(now.logp, x.mask)
        nll = -eq.of_label(eq.sequence_mean(now.logp, x.mask), label, 1).sum() / pairs
        loss = eq.dpo(eq.gap(implicit, label), beta=1.0).sum() / pairs + self.nll_coef * nll
        metrics = eq.preference_metrics(loss, now, x, implicit=implicit) | {"loss/nll_avg": nll.detach()}
        return LossOutput(loss=loss, metrics=metrics)
