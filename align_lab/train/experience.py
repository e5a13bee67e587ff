"""The experience of a step, which every source of it gives: tokens, what an algorithm reads of them, and their cost.

A source samples completions in the loop, reads preference pairs, or mixes both. All give whole groups.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from align_lab.base.types import Rollout
from align_lab.train.by_length import Lengths

PAIR, SAMPLED = 0, 1  # `Rollout.origin`
PER_TOKEN = ("mask", "logp_old", "logp_sampler", "logp_ref", "value", "step_reward")  # of a rollout, [P G T]


@dataclass(frozen=True, kw_only=True)
class Experience:
    """The completions of one step: the tokens that a model reads, and the rollout that an algorithm reads."""

    ids: Tensor  # [P G S+T] left-padded prompt, then response
    pad: Tensor  # [P G] left padding
    rollout: Rollout

    def take(self, rows: Tensor | tuple[Tensor, ...]) -> Experience:
        """The groups at these indices, or, for a pair of index tensors, the samples at (group, sample)."""
        taken = {f.name: _rows(getattr(self.rollout, f.name), rows) for f in dataclasses.fields(self.rollout)}
        return Experience(ids=self.ids[rows], pad=self.pad[rows], rollout=Rollout(**taken))

    def fresh(self) -> Experience:
        """The groups that were sampled in this step, where a set of pairs gives the others."""
        origin = self.rollout.origin
        return self if origin is None else self.take((origin == SAMPLED).nonzero().squeeze(1))

    def seen_tokens(self) -> int:
        """Number of tokens in prompts and responses, without padding."""
        T = self.rollout.mask.shape[-1]
        return int(self.rollout.mask.sum() + (self.ids.shape[-1] - T - self.pad).sum())

    def lengths(self) -> Lengths:
        """The columns that each group needs."""
        mask = self.rollout.mask
        return Lengths.of(self.pad, mask, self.ids.shape[-1] - mask.shape[-1])

    def prompt_tokens(self) -> int:
        """Number of tokens in prompts, without padding; the prompt of a group counts once."""
        T = self.rollout.mask.shape[-1]
        return int((self.ids.shape[-1] - T - self.pad[:, 0]).sum())


@dataclass(frozen=True, kw_only=True)
class Collected:
    """The experience of one step, over all processes, and what is charged to the budget for it."""

    experience: Experience
    episodes: int  # completions charged
    tokens: int  # tokens generated
    labels: int  # judgements: completions that the reward scored, or pairs that the data came with
    ended: int | None  # completions with an end-of-sequence token; None where nothing was sampled
    seconds: Mapping[str, float]
    prompt_tokens: int = 0  # that were read to sample, those of a group once
    reference_tokens: int = 0  # that the start policy read for log-probabilities of completions it did not sample
    scored_tokens: int = 0  # of prompts and completions of which reference, critic and trainer computed their values
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])  # of the scores
    scoring: Mapping[str, float] = field(default_factory=dict[str, float])  # what scoring preference pairs has cost

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, for a checkpoint."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Collected:
        """What `state_dict` was called on."""
        parts = state["experience"]
        rollout = Rollout(**{name: _on_device(value) for name, value in parts["rollout"].items()})
        experience = Experience(ids=_on_device(parts["ids"]), pad=_on_device(parts["pad"]), rollout=rollout)
        return cls(**{**state, "experience": experience})


class ExperienceSource(Protocol):
    """Where the loop gets its experience from."""

    def collect(self, step: int, *, groups: int) -> Collected:
        """The experience of one step, with this number of groups. If it raises, no state has changed."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What it has drawn so far, for a checkpoint."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


def _on_device(value: Any) -> Any:
    """A checkpoint is read into main memory; experience lies where the models are."""
    return value.to(torch.get_default_device()) if isinstance(value, Tensor) else value


def scored_groups(experience: Experience) -> Experience:
    """Without the groups in which a completion has no score: their baselines would lack it."""
    rollout = experience.rollout
    missing = rollout.score.isnan().any(1)
    if rollout.score_greedy is not None:
        missing = missing | rollout.score_greedy.isnan()
    return experience.take((~missing).nonzero().squeeze(1)) if bool(missing.any()) else experience


def trim(experience: Experience) -> Experience:
    """Remove the columns that are padding in every row: left of the prompts and right of the responses."""
    if not len(experience.ids):
        return experience
    rollout = experience.rollout
    T = rollout.mask.shape[-1]
    used = _longest_response(rollout.mask)
    left = int(experience.pad.min())
    fields = {name: getattr(rollout, name) for name in PER_TOKEN}
    short = {name: None if value is None else value[..., :used] for name, value in fields.items()}
    return Experience(
        ids=experience.ids[..., left : experience.ids.shape[-1] - (T - used)],
        pad=experience.pad - left,
        rollout=replace(rollout, **short),
    )


def _longest_response(mask: Tensor) -> int:
    """Number of columns up to the last one that counts in any row, at least one."""
    columns = mask.flatten(0, -2).any(0).nonzero()
    return int(columns.max()) + 1 if len(columns) else 1


def join(parts: Sequence[Experience], *, fill: int) -> Experience:
    """Concatenate all groups: prompts are padded on the left and responses on the right to a common width.

    `fill`: the token at padding. A field of the rollout that one part lacks is absent from the result.
    """
    if len(parts) == 1:
        return parts[0]
    T = max(part.rollout.mask.shape[-1] for part in parts)
    S = max(part.ids.shape[-1] - part.rollout.mask.shape[-1] for part in parts)
    padded = [_widen(part, S, T, fill) for part in parts]
    columns = {f.name: [getattr(part.rollout, f.name) for part in padded] for f in dataclasses.fields(Rollout)}
    return Experience(
        ids=torch.cat([part.ids for part in padded]),
        pad=torch.cat([part.pad for part in padded]),
        rollout=Rollout(**{name: _concatenated(values) for name, values in columns.items()}),
    )


def _widen(part: Experience, S: int, T: int, fill: int) -> Experience:
    """The same groups with prompts of S and responses of T tokens."""
    right = T - part.rollout.mask.shape[-1]
    left = S + T - right - part.ids.shape[-1]
    fields = {name: getattr(part.rollout, name) for name in PER_TOKEN}
    wide: dict[str, Any] = {name: None if x is None else F.pad(x, (0, right)) for name, x in fields.items()}
    ids = F.pad(part.ids, (left, right), value=fill)
    return Experience(ids=ids, pad=part.pad + left, rollout=replace(part.rollout, **wide))


def _concatenated(values: Sequence[Any]) -> Any:
    present = [value for value in values if value is not None]
    if present and not isinstance(present[0], Tensor):
        return present[0]
    return torch.cat(present) if len(present) == len(values) else None


def _rows(value: Any, rows: Tensor | tuple[Tensor, ...]) -> Any:
    """These groups of a field of the rollout; a field [P] has no samples to choose from."""
    if not isinstance(value, Tensor):
        return value
    if isinstance(rows, tuple) and value.ndim == 1:
        return value[rows[0].flatten()]
    return value[rows]


def left_padding(pad: Tensor) -> Tensor | None:
    """None if no row is padded, for which the model has a faster path."""
    return pad if bool(pad.any()) else None
