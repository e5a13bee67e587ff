"""How much experience a step holds, how it is used, and when a run ends."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.component import Component
from align_lab.base.registry import checked, param, register, section


@checked
@dataclass(frozen=True, kw_only=True)
class Budget:
    """A run ends at `train.steps` or when one of these is spent, whichever comes first. null: no limit.

    Preference pairs are charged for the completions that were sampled, scored and labelled to make them.
    """

    episodes: int | None = param(None, "scored completions", low=1)
    tokens: int | None = param(None, "generated tokens", low=1)
    seconds: float | None = param(None, "seconds of training, stages and evaluations apart; not repeatable", above=0)


@register("train", "default")
@dataclass(frozen=True, kw_only=True)
class Train(Component):
    """One step: sample `prompts_per_step` x `group_size` completions, then `epochs` passes in `minibatches` updates."""

    steps: int = param(60, "rollouts (for preference pairs: batches of pairs)", low=1)
    prompts_per_step: int = param(16, "prompts P of one step", low=1)
    group_size: int = param(4, "completions G of one prompt", low=1)
    epochs: int = param(1, "passes over the experience of a step", low=1)
    minibatches: int = param(1, "optimiser updates of one pass", low=1)
    micro_batch: int | None = param(
        None, "most sequences in one forward pass; changes memory, never the result. null: as many as fit", low=1
    )
    lr: float = param(1.5e-4, "learning rate of the policy (AdamW)", above=0)
    critic_lr: float = param(1e-3, "learning rate of the critic, where there is one", above=0)
    warmup_steps: int = param(3, "steps of linear warm-up", low=0)
    decay: str = param("constant", "learning rate after the warm-up", choices=("constant", "linear", "cosine"))
    beta1: float = param(0.9, "AdamW", low=0, high=1)
    beta2: float = param(0.95, "AdamW", low=0, high=1)
    adam_eps: float = param(1e-8, "AdamW", above=0)
    weight_decay: float = param(0.0, "AdamW, on the matrices", low=0)
    max_grad_norm: float = param(1.0, "global gradient clip (policy and critic apart); .inf is none", above=0)
    budget: Budget = section(Budget, "when to stop before the last step")
