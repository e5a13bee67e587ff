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
class RoundNeeds:
    """Training in rounds: the experience of a round is sampled by the policy that the round begins with.

    `reference` "round": the reference is that policy as well; "start": it is the start policy throughout.
    """

    steps: int
    reference: Literal["start", "round"] = "start"


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What an algorithm needs from the loop. It is declared, so that the loop never depends on an algorithm's name."""

    pairs: float = 0.0  # share of a step's groups that are read from a set of preference pairs; the rest is sampled
    paired: bool = True  # False: each completion of a set of pairs is a group of its own, with score 1 or 0
    rounds: RoundNeeds | None = None  # None: the current policy samples at every step
    reference: bool = False  # logp_ref of the frozen start policy, or of the policy that the round begins with
    critic: CriticNeeds | None = None  # value [P G T] in the rollout and in the policy output
    min_group_size: int = 1  # samples a prompt
    max_group_size: int | None = None  # None: any number
    refills: int = 0  # batches of further prompts that a step may sample in place of the groups that `keep` rejects
    greedy: bool = False  # score_greedy of the most likely completion of each prompt
    noise: bool = False  # uniform random numbers [P G], for random choices of the algorithm
    entropy: bool = False  # entropy [P G T] in the policy output
    mismatched: bool = False  # log-probabilities of other prompts' completions, for `statistics`
    statistics: bool = False  # `statistics` of the whole minibatch, before its loss
    pretrain_batch: bool = False  # logp_pretrain of human text in the policy output (PPO-ptx)
    on_policy: bool = True  # the term with the advantage is an expectation over what the policy itself samples
    single_update: bool = False  # the loss has no ratio: it is only right for the first update with an experience

    @property
    def samples(self) -> bool:
        """Are completions sampled in the loop?"""
        return self.pairs < 1

    @property
    def resets_reference(self) -> bool:
        """Is the reference the policy that the round begins with? Then it needs no model of its own."""
        return self.rounds is not None and self.rounds.reference == "round"

    @property
    def holds_reference(self) -> bool:
        """Does training need the start policy beside the policy? Pairs of a set have its log-probabilities."""
        return self.mismatched or (self.reference and self.samples and not self.resets_reference)


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One step's experience for all prompts. Preference pairs: G = 2, chosen, rejected."""

    mask: Tensor  # [P G T] bool
    score: Tensor  # [P G]
    logp_old: Tensor  # [P G T] log-probability under the policy with which the step begins
    logp_sampler: IfNeeded = None  # [P G T] computed by what sampled, if that is another engine or had older weights
    logp_ref: IfNeeded = None  # [P G T] under the frozen reference
    value: IfNeeded = None  # [P G T] critic's estimate before each token
    step_reward: Tensor | None = None  # [P G T] the parts of the score that belong to a step, at its last token
    ended: Tensor | None = None  # [P G] bool: the completion has an end-of-sequence token; None: all have
    longest: int | None = None  # sampling.max_new_tokens, the most tokens that a completion may have; None: unlimited
    score_greedy: IfNeeded = None  # [P] score of the most likely completion
    origin: IfNeeded = None  # [P] int, where `needs.pairs` mixes: 0 for a pair of the set, 1 for sampled completions
    noise: IfNeeded = None  # [P G] uniform in [0, 1)


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
    longest: int | None = None  # as in the rollout
    origin: IfNeeded = None  # [P] as in the rollout
    noise: IfNeeded = None  # [P G] as in the rollout
    logp_ref_mismatched: IfNeeded = None  # [P G T] of the completions of other prompts
    statistics: Mapping[str, Tensor] = field(default_factory=_no_metrics)  # what `Algorithm.statistics` has summed


@dataclass(frozen=True, kw_only=True)
class PolicyOutput:
    """The models' current outputs, with gradient."""

    logp: Tensor  # [P G T] log-probability of the sampled tokens, at the sampling temperature
    value: IfNeeded = None  # [P G T]
    entropy: IfNeeded = None  # [P G T]
    logp_pretrain: IfNeeded = None  # [N L] of human text, 0 where its mask is False
    mask_pretrain: IfNeeded = None  # [N L] bool
    tokens_pretrain: float = 0.0  # counted human tokens in the whole minibatch
    logp_mismatched: IfNeeded = None  # [P G T] of the completions of other prompts, only in `statistics`
    mask_mismatched: IfNeeded = None  # [P G T] bool


@dataclass(frozen=True, kw_only=True)
class LossOutput:
    """`loss` is a scalar to differentiate; `metrics` are detached scalars. Both add up over micro-batches."""

    loss: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=_no_metrics)
