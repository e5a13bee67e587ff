"""The experience of a training step, the updates made with it, and the budget of a run."""

from __future__ import annotations

from dataclasses import dataclass

from align_lab.base.component import Component
from align_lab.base.registry import checked, param, register, section
from align_lab.base.search_space import among, around


@checked
@dataclass(frozen=True, kw_only=True)
class Budget:
    """A run ends at `train.steps` or when one of these limits is reached, whichever comes first. null: no limit.

    Preference pairs count with the completions that were sampled, scored and labeled to make them.
    """

    episodes: int | None = param(None, "scored completions", low=1)
    tokens: int | None = param(None, "generated tokens", low=1)
    seconds: float | None = param(None, "seconds of training without stages and evaluations; not reproducible", above=0)


@register("train", "default")
@dataclass(frozen=True, kw_only=True)
class Train(Component):
    """One step: sample `prompts_per_step` x `group_size` completions, then `epochs` passes in `minibatches` updates."""

    steps: int = param(60, "rollouts (for preference pairs: batches of pairs)", low=1)
    prompts_per_step: int = param(16, "prompts P per step", low=1)
    group_size: int = param(4, "completions G per prompt", low=1)
    epochs: int = param(1, "passes over the experience of a step", low=1, tune=among(1, 2, 4))
    minibatches: int = param(1, "optimizer updates per pass", low=1)
    micro_batch: int | None = param(
        None, "maximum sequences per forward pass; changes memory, not the result. null: as many as fit", low=1
    )
    lr: float = param(1.5e-4, "learning rate of the policy (AdamW)", above=0, tune=around(4))
    critic_lr: float = param(1e-3, "learning rate of the critic, if there is one", above=0, tune=around(4))
    warmup_steps: int = param(3, "steps of linear warm-up", low=0)
    decay: str = param("constant", "learning rate after the warm-up", choices=("constant", "linear", "cosine"))
    beta1: float = param(0.9, "β₁ of AdamW", low=0, high=1)
    beta2: float = param(0.95, "β₂ of AdamW", low=0, high=1)
    adam_eps: float = param(1e-8, "ε of AdamW", above=0)
    weight_decay: float = param(0.0, "weight decay of AdamW, on matrices only", low=0)
    max_grad_norm: float = param(1.0, "global gradient clip, for policy and critic separately; .inf: no clip", above=0)
    budget: Budget = section(Budget, "limits that end a run before its last step")
