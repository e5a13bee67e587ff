"""DPO: maximum likelihood of a fixed set of preference pairs, with the policy as its own reward model.

Rafailov et al., Direct Preference Optimization: Your Language Model is Secretly a Reward Model, arXiv 2305.18290.

    z = log π(y_w)/π_ref(y_w) - log π(y_l)/π_ref(y_l)                       (log-probabilities summed over tokens)
    L = mean over pairs of -log σ(β z)                                       (eq. 7)

The pairs are generated and labeled before training. A pair is a group of two samples, the chosen one first. The label
(+1 chosen, -1 rejected) takes the place of the advantage, so that z = Σ label · (log π - log π_ref).

Choices: β = 0.1 is the paper's default (0.5 in its summarization experiment). label_smoothing > 0 is conservative DPO
(Mitchell 2023), which the paper does not have. TRL, OpenRLHF and SAIL's code sum log-probabilities as well, and have no
label smoothing by default.
Departures: log-probabilities are those at the temperature at which the policy samples (preferences.temperature=1 gives
those of the libraries). Paper and SAIL's code train with RMSprop; here all algorithms have one optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "dpo")
@dataclass(frozen=True, kw_only=True)
class DPO(Algorithm):
    """Direct preference optimization on a fixed set of pairs."""

    beta: float = param(
        0.1, "β, strength of the implicit KL constraint toward the reference", above=0, tune=log(0.03, 0.3)
    )
    label_smoothing: float = param(0.0, "ε, assumed fraction of flipped labels", low=0, high=0.5)

    @property
    def needs(self) -> Needs:
        """Preference pairs in place of rollouts, and the reference."""
        return Needs(pairs=1.0, reference=True, min_group_size=2)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels +1 (chosen) and -1 (rejected) at every token."""
        return Advantage(advantage=eq.pair_labels(x.score, x.mask)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-log σ(β z), averaged over pairs."""
        pairs = x.sequences / 2
        log_ratio = eq.log_ratio(now.logp, x.logp_ref, x.mask)
        z = eq.gap(log_ratio, eq.label_of(x.advantage, x.mask))
        loss = eq.dpo(z, beta=self.beta, label_smoothing=self.label_smoothing).sum() / pairs
        return LossOutput(loss=loss, metrics=eq.preference_metrics(loss, now, x, implicit=self.beta * log_ratio))
