"""SimPO: DPO without a reference, on the mean log-probability of a token, with a margin.

Meng et al., SimPO: Simple Preference Optimization with a Reference-Free Reward, arXiv 2405.14734.

    r(y) = β/|y| Σₜ log π(yₜ)                                                (eq. 4: what generation maximizes)
    L    = mean over pairs of -log σ(r(y_w) - r(y_l) - γ)                    (eq. 6)

The mean over tokens removes the advantage of a long completion, and the margin γ asks for more than the right order.
Nothing holds the policy near the start policy but the learning rate and the number of steps.

Choices: β = 2 and γ/β = 0.5 are the paper's for Llama-3-Base. Its four settings have β 2 or 2.5 and γ/β 0.1 to 0.8; the
authors suggest to begin at 0.5, and later used β = 10 for two models. TRL's CPOTrainer (loss_type=simpo) inherits β =
0.1 from CPO, has γ = 0.5, and adds CPO's likelihood term unless cpo_alpha=0.
"""

from __future__ import annotations

from dataclasses import dataclass

from align_lab import equations as eq
from align_lab.base.contracts import Algorithm
from align_lab.base.registry import param, register
from align_lab.base.search_space import log, uniform
from align_lab.base.types import Advantage, Batch, LossOutput, Needs, PolicyOutput, Rollout, State


@register("algo", "simpo")
@dataclass(frozen=True, kw_only=True)
class SimPO(Algorithm):
    """Length-normalized, reference-free preference optimization on a fixed set of pairs."""

    beta: float = param(2.0, "β, scale of the mean log-probability of a token", above=0, tune=log(2.0, 10.0))
    gamma: float = param(
        1.0, "γ, margin that the chosen completion's reward is to have", low=0, tune=uniform(0.25, 1.6)
    )

    @property
    def needs(self) -> Needs:
        """Preference pairs in place of rollouts, and nothing else."""
        return Needs(pairs=1.0, min_group_size=2)

    def advantages(self, x: Rollout, state: State) -> tuple[Advantage, State]:
        """Labels +1 (chosen) and -1 (rejected) at every token."""
        return Advantage(advantage=eq.pair_labels(x.score, x.mask)), state

    def loss(self, now: PolicyOutput, x: Batch) -> LossOutput:
        """-log σ(r(y_w) - r(y_l) - γ), averaged over pairs."""
        pairs, label = x.sequences / 2, eq.label_of(x.advantage, x.mask)
        implicit = self.beta * eq.sequence_mean(now.logp, x.mask)
        loss = eq.dpo(eq.gap(implicit, label) - self.gamma, beta=1.0).sum() / pairs
        return LossOutput(loss=loss, metrics=eq.preference_metrics(loss, now, x, implicit=implicit))
