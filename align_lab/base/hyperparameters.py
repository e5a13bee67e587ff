"""The experience of a training step, the updates made with it, and the budget of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from align_lab.base.component import Component
from align_lab.base.registry import checked, param, register, section
from align_lab.base.search_space import among, around

MOST_STEPS = 1_000_000  # of a run that a budget of seconds ends


@checked
@dataclass(frozen=True, kw_only=True)
class Budget:
    """A run ends when one of these limits is reached, or at `train.steps` where that is set and comes first.

    Preference pairs count with the completions that were sampled, scored and labeled to make them. null: no limit.
    """

    episodes: int | None = param(None, "scored completions", low=1)
    tokens: int | None = param(None, "generated tokens", low=1)
    seconds: float | None = param(None, "seconds of training without stages and evaluations; not reproducible", above=0)

    def longest(self, completions: int) -> int | None:
        """The last step at the latest, if each step charges so many `completions`, of one token at least; None without
        a budget.
        """
        counted = (-(-limit // completions) for limit in (self.episodes, self.tokens) if limit is not None)
        return min([*counted, *([MOST_STEPS] if self.seconds is not None else [])], default=None)


@register("train", "default")
@dataclass(frozen=True, kw_only=True)
class Train(Component):
    """One step: sample `prompts_per_step` x `group_size` completions, then `epochs` passes in `minibatches` updates."""

    steps: int = param(
        60, "rollouts (for preference pairs: batches of pairs); with a budget, as many as it needs, unless set", low=1
    )
    prompts_per_step: int = param(16, "prompts P per step", low=1)
    group_size: int = param(4, "completions G per prompt", low=1)
    epochs: int = param(1, "passes over the experience of a step", low=1, tune=among(1, 2, 4))
    minibatches: int = param(1, "optimizer updates per pass", low=1)
    micro_batch: int | None = param(
        None, "maximum sequences per forward pass; changes memory, not the result. null: as many as fit", low=1
    )
    scoring_batch: int | None = param(
        None,
        "maximum sequences per forward pass without gradient (old log-probabilities, reference, critic, evaluation); "
        "changes memory, not the result. null: as many as need no more than the update or sampling",
        low=1,
    )
    lr: float = param(1.5e-4, "learning rate of the policy (AdamW)", above=0, tune=around(4))
    critic_lr: float = param(1e-3, "learning rate of the critic, if there is one", above=0, tune=around(4))
    warmup_steps: int = param(3, "steps of linear warm-up", low=0)
    decay: str = param("constant", "learning rate after the warm-up", choices=("constant", "linear", "cosine"))
    beta1: float = param(0.9, "β₁ of AdamW", low=0, high=1)
    beta2: float = param(0.95, "β₂ of AdamW", low=0, high=1)
    adam_eps: float = param(1e-8, "ε of AdamW", above=0)
    weight_decay: float = param(0.0, "weight decay of AdamW, on matrices only", low=0)
    max_grad_norm: float = param(
        1.0, "global gradient clip, for policy and critic separately", above=0, infinite="no clip"
    )
    budget: Budget = section(Budget, "limits that end a run before its last step")

    @property
    def completions(self) -> int:
        """Completions P x G of a step."""
        return self.prompts_per_step * self.group_size

    @property
    def last_step(self) -> int:
        """The latest: `steps`, or an earlier one where the budget of episodes ends, if each step charges P x G."""
        episodes = self.budget.episodes
        return self.steps if episodes is None else min(self.steps, -(-episodes // self.completions))

    @property
    def open_ended(self) -> bool:
        """Do tokens or seconds alone end the run, so that its last step is not known before it begins?"""
        longest = self.budget.longest(self.completions)
        return self.budget.episodes is None and longest is not None and longest <= self.steps

    @property
    def planned_steps(self) -> int:
        """The last step, as far as it is known before the run begins; else 0."""
        return 0 if self.open_ended else self.last_step

    def ended(self, step: int, *, episodes: int, tokens: int, seconds: float = 0.0) -> bool:
        """Is a run that has made `step` steps, and has charged these amounts, at its end?"""
        budget = self.budget
        limits = ((budget.episodes, episodes), (budget.tokens, tokens), (budget.seconds, seconds))
        return step >= self.steps or any(limit is not None and used >= limit for limit, used in limits)

    def expected_steps(self, step: int, *, episodes: float, tokens: float, seconds: float) -> int:
        """The last step, if the steps to come charge as much as the first `step`, which have charged these amounts."""
        limits = ((self.budget.episodes, episodes), (self.budget.tokens, tokens), (self.budget.seconds, seconds))
        ends = [math.ceil(step * limit / used) for limit, used in limits if limit is not None and used > 0]
        return max(step, min([self.steps, *ends]))
