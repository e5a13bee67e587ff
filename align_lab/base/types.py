"""The records that flow through a run. Nothing is computed here.

Axes: ``P`` prompts, ``G`` samples a prompt (the group), ``T`` response tokens, ``S`` prompt tokens, ``B`` rows,
``V`` vocabulary.
One mask, ``mask [P G T]``: True where a token counts. The end-of-sequence token counts; what follows it does not.

``score``      what the reward component returned, one number a completion, after the one end-of-sequence rule;
``reward``     what an algorithm optimises, per token or per sequence;
``advantage``  what multiplies the log-probability; neither of the two above.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

    Asked = Tensor | Any  # None unless `needs` asked for it, so an algorithm that asked reads it as a Tensor

State = Any  # a flat, possibly empty mapping or tuple of tensors and numbers: it is checkpointed


def _no_metrics() -> dict[str, Tensor]:
    return {}


@dataclass(frozen=True, kw_only=True)
class CriticNeeds:
    """How the value function starts. `init`: weights of the reward model or of the policy; `pretrain_steps`: rollouts
    that train the critic alone before the policy moves."""

    init: Literal["reward", "policy"] = "policy"
    pretrain_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What an algorithm asks of the loop. It is declared, so the loop never asks for an algorithm's name."""

    experience: Literal["rollouts", "pairs"] = "rollouts"  # sampled in the loop, or read from a preference set
    reference: bool = False  # logp_ref of the frozen start policy
    critic: CriticNeeds | None = None  # value [P G T] in the rollout and in the policy output
    min_group_size: int = 1  # samples a prompt
    entropy: bool = False  # entropy [P G T] in the policy output
    pretrain_batch: bool = False  # logp_pretrain of human text in the policy output (PPO-ptx)
    on_policy: bool = True  # the loss is linear in the advantage, an expectation over what the policy itself samples


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One step's experience for all prompts, under the behaviour policy. Preference pairs: G = 2, chosen, rejected."""

    mask: Tensor  # [P G T] bool
    score: Tensor  # [P G]
    logp_old: Tensor  # [P G T] log-probability under the policy that sampled
    logp_sampler: Asked = None  # [P G T] the same as the sampler computes it, where that is not training's own
    logp_ref: Asked = None  # [P G T] under the frozen reference, where needed
    value: Asked = None  # [P G T] critic's estimate before each token, where needed


@dataclass(frozen=True, kw_only=True)
class Advantage:
    """What an algorithm makes of a rollout, without gradient."""

    advantage: Tensor  # [P G T], 0 where the mask is False
    returns: Asked = None  # [P G T] value targets, where there is a critic
    metrics: Mapping[str, Tensor] = field(default_factory=_no_metrics)  # scalars, names from the METRICS table


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Whole groups of a rollout that one loss call sees, with the denominators of the *whole* minibatch.

    `tokens` and `sequences` count the minibatch over all micro-batches and all processes, so losses of the parts add up
    to the loss of the whole.
    """

    mask: Tensor  # [P G T] bool
    logp_old: Tensor  # [P G T]
    advantage: Tensor  # [P G T]
    tokens: float  # counted tokens in the whole minibatch
    sequences: float  # sequences in the whole minibatch
    logp_ref: Asked = None  # [P G T]
    value: Asked = None  # [P G T] at rollout time
    returns: Asked = None  # [P G T]


@dataclass(frozen=True, kw_only=True)
class PolicyOutput:
    """What the models say now, with gradient."""

    logp: Tensor  # [P G T] log-probability of the sampled tokens, at the sampling temperature
    value: Asked = None  # [P G T]
    entropy: Asked = None  # [P G T]
    logp_pretrain: Asked = None  # [N L] of human text, 0 where its mask is False
    mask_pretrain: Asked = None  # [N L] bool
    tokens_pretrain: float = 0.0  # counted human tokens in the whole minibatch


@dataclass(frozen=True, kw_only=True)
class LossOutput:
    """`loss` is a scalar to differentiate. `metrics` are detached scalars that add up over the parts of a minibatch."""

    loss: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=_no_metrics)
