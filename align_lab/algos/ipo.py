"""IPO: a squared loss on the log-ratio gap of preference pairs, whose target is finite where DPO's is not.

Azar et al., A General Theoretical Paradigm to Understand Learning from Human Preferences, arXiv 2310.12036.

    z = log π(y_w)/π_ref(y_w) - log π(y_l)/π_ref(y_l)
    L = mean over pairs of (z - 1/(2β))²                                     (eq. 17; the paper's τ is β here)

Where every annotator agrees, DPO's loss falls as z grows without end, and β no longer holds the policy near the
reference. The loss of IPO is least at z = 1/(2β).

Choices: sums or averages? over_tokens=sum is the paper's equation, and what OpenRLHF, TRL's OnlineDPOTrainer and SAIL's
equations compute. over_tokens=mean takes each side's mean over its tokens, so that long completions do not reach the
target by their length: TRL's DPOTrainer (loss_type=ipo) and SAIL's released baseline, since the authors confirmed it
for TRL. The same β is then much weaker: the target is a gap of 1/(2β) nats per token. β = 0.1 is the default of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "ipo")
@dataclass(frozen=True, kw_only=True)
class IPO(Algorithm):
    """Identity preference optimization on a fixed set of pairs."""

    beta: float = param(
        0.1, "β (the paper's τ), strength of the constraint: the target gap is 1/(2β)", above=0, tune=log(0.03, 0.3)
    )
    over_tokens: Literal["sum", "mean"] = param(
        "sum",
        "a completion's log-ratio: the sum over its tokens (the paper) or their mean (TRL's DPOTrainer)",
        choices=("sum", "mean"),
    )

    @property
    def needs(self) -> Needs:
        """Preference pairs in place of rollouts, and the reference."""
        return Needs(pairs=1.0, reference=True, min_group_size=2)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels +1 (chosen) and -1 (rejected) at every token."""
        return Advantage(advantage=eq.pair_labels(x.score, x.mask)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """(z - 1/(2β))², averaged over pairs."""
        pairs, label = x.sequences / 2, eq.label_of(x.advantage, x.mask)
        reduce = {"sum": eq.masked_sum, "mean": eq.sequence_mean}[self.over_tokens]
        log_ratio = reduce(now.logp - x.logp_ref, x.mask)
        loss = eq.ipo(eq.gap(log_ratio, label), beta=self.beta).sum() / pairs
        return LossOutput(loss=loss, metrics=eq.preference_metrics(loss, now, x, implicit=self.beta * log_ratio))
