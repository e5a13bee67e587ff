"""ORPO: supervised fine-tuning on the chosen completion, with a penalty on the odds of the rejected. No reference.

Hong, Lee and Thorne, ORPO: Monolithic Preference Optimization without Reference Model, arXiv 2403.07691.

    log p(y) = 1/|y| Σₜ log π(yₜ);   odds(y) = p(y) / (1 - p(y))             (odds: eq. 4)
    L        = mean over pairs of -log p(y_w) - λ log σ(log odds(y_w)/odds(y_l))           (eqs. 6 and 7)

The method replaces supervised fine-tuning, so it can begin from a model that has seen no demonstration.

Choices: λ = 0.1 is the paper's for its Mistral models (table 7), and TRL's default (TRL calls it beta).
Departures: the likelihood is the mean over pairs of a completion's mean over tokens. TRL averages over all tokens of a
batch, so that long completions weigh more, and counts the tokens of the prompt too.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "orpo")
@dataclass(frozen=True, kw_only=True)
class ORPO(Algorithm):
    """Likelihood of the chosen completion and the odds ratio of a pair."""

    odds_coef: float = param(
        0.1, "λ, weight of the odds ratio beside the likelihood of the chosen completion", above=0, tune=log(0.03, 1.0)
    )

    @property
    def needs(self) -> Needs:
        """Preference pairs in place of rollouts, and nothing else."""
        return Needs(pairs=1.0, min_group_size=2)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels +1 (chosen) and -1 (rejected) at every token."""
        return Advantage(advantage=eq.pair_labels(x.score, x.mask)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-log p(y_w) - λ log σ(log odds ratio), averaged over pairs."""
        pairs, label = x.sequences / 2, eq.label_of(x.advantage, x.mask)
        mean_logp = eq.sequence_mean(now.logp, x.mask)
        nll = -eq.of_label(mean_logp, label, 1).sum() / pairs
        odds = eq.dpo(eq.gap(eq.log_odds(mean_logp), label), beta=1.0).sum() / pairs
        loss = nll + self.odds_coef * odds
        metrics = eq.preference_metrics(loss, now, x, implicit=self.odds_coef * mean_logp)
        return LossOutput(loss=loss, metrics=metrics | {"loss/nll_avg": nll.detach()})
