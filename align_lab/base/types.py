"""The data types that the loop, the algorithms and the models exchange. Nothing is computed here.

Axes: ``P`` prompts, ``G`` samples a prompt (the group), ``T`` response tokens, ``S`` prompt tokens, ``B`` rows,
``V`` vocabulary.
One mask, ``mask [P G T]``: True where a token counts. The end-of-sequence token counts; what follows it does not.

``score``      what the reward component returned, one number a completion, after the one end-of-sequence rule;
``reward``     what an algorithm optimizes, per token or per sequence;
``advantage``  what multiplies the log-probability; neither of the two above.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

    IfNeeded = Tensor | Any  # None unless the algorithm's `needs` declare it, so an algorithm may read it as a Tensor

State = Any  # a flat, possibly empty mapping or tuple of tensors and numbers: it is checkpointed


def _no_metrics() -> dict[str, Tensor]:
    return {}


@dataclass(frozen=True, kw_only=True)
class CriticNeeds:
    """How the critic is initialized: with the weights of the reward model or of the policy.

    `pretrain_steps`: steps that train the critic alone, before the policy's first update.
    """

    init: Literal["reward", "policy"] = "policy"
    pretrain_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What an algorithm needs from the loop. It is declared, so that the loop never depends on an algorithm's name."""

    experience: Literal["rollouts", "pairs"] = "rollouts"  # sampled in the loop, or read from a preference set
    reference: bool = False  # logp_ref of the frozen start policy
    critic: CriticNeeds | None = None  # value [P G T] in the rollout and in the policy output
    min_group_size: int = 1  # samples a prompt
    entropy: bool = False  # entropy [P G T] in the policy output
    pretrain_batch: bool = False  # logp_pretrain of human text in the policy output (PPO-ptx)
    on_policy: bool = True  # the loss is linear in the advantage, an expectation over what the policy itself samples


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One step's experience for all prompts, under the behavior policy. Preference pairs: G = 2, chosen, rejected."""

    mask: Tensor  # [P G T] bool
    score: Tensor  # [P G]
    logp_old: Tensor  # [P G T] log-probability under the policy that sampled
    logp_sampler: IfNeeded = None  # [P G T] the same, computed by the sampler, if that is another engine
    logp_ref: IfNeeded = None  # [P G T] under the frozen reference
    value: IfNeeded = None  # [P G T] critic's estimate before each token
    step_reward: Tensor | None = None  # [P G T] the parts of the score that belong to a step, at its last token


@dataclass(frozen=True, kw_only=True)
class Advantage:
    """What an algorithm computes from a rollout, without gradient."""

    advantage: Tensor  # [P G T], 0 where the mask is False
    returns: IfNeeded = None  # [P G T] value targets of the critic
    metrics: Mapping[str, Tensor] = field(default_factory=_no_metrics)  # scalars, names from the METRICS table


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Whole groups of a rollout, for one call of the loss, with the denominators of the *whole* minibatch.

    `tokens` and `sequences` count the minibatch over all micro-batches and all processes, so that the losses of the
    micro-batches add up to the loss of the minibatch.
    """

    mask: Tensor  # [P G T] bool
    logp_old: Tensor  # [P G T]
    advantage: Tensor  # [P G T]
    tokens: float  # counted tokens in the whole minibatch
    sequences: float  # sequences in the whole minibatch
    logp_ref: IfNeeded = None  # [P G T]
    value: IfNeeded = None  # [P G T] at rollout time
    returns: IfNeeded = None  # [P G T]


@dataclass(frozen=True, kw_only=True)
class PolicyOutput:
    """The models' current outputs, with gradient."""

    logp: Tensor  # [P G T] log-probability of the sampled tokens, at the sampling temperature
    value: IfNeeded = None  # [P G T]
    entropy: IfNeeded = None  # [P G T]
    logp_pretrain: IfNeeded = None  # [N L] of human text, 0 where its mask is False
    mask_pretrain: IfNeeded = None  # [N L] bool
    tokens_pretrain: float = 0.0  # counted human tokens in the whole minibatch


@dataclass(frozen=True, kw_only=True)
class LossOutput:
    """`loss` is a scalar to differentiate; `metrics` are detached scalars. Both add up over micro-batches."""

    loss: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=_no_metrics)
