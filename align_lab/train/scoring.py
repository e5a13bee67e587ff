"""The scores of completions over all processes: failures are counted and limited, and processes fail together."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from align_lab.base.errors import RewardError
from align_lab.base.task import Example, Scorer, StepScore
from align_lab.base.world import World
from align_lab.rewards.scores import CheckedScores, check_limit, scores


class Meter:
    """What scoring has cost: `totals` are sums of `Reward.costs` over all completions of a run, by `FIELD.PART`."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = {}

    def add(self, sums: Mapping[str, float]) -> None:
        """Add these sums to the totals."""
        for name, value in sums.items():
            self.totals[name] = self.totals.get(name, 0.0) + value


@dataclass(frozen=True, kw_only=True)
class LimitedScorer:
    """A scorer with the share of its completions that may fail, and the config's field that holds it."""

    scorer: Scorer
    max_failed: float = 0.1
    field: str = "reward.max_failed"
    costs: Sequence[str] = ()  # parts that `meter` adds up
    meter: Meter = dataclasses.field(default_factory=Meter, compare=False)

    def __call__(self, examples: Sequence[Example], completions: Sequence[str], world: World) -> CheckedScores:
        """Score this process's completions.

        Raises RewardError in all processes if the scorer raised it in one of them, or if too many completions failed in
        all of them together.
        """
        checked, problem = CheckedScores(values=[]), ""
        try:
            checked = scores(self.scorer, examples, completions)
        except RewardError as error:
            problem = str(error)
            if world.size == 1:
                raise
        problems = world.concatenate([problem])
        if any(problems):
            raise RewardError(next(text for text in problems if text))
        firsts = world.concatenate([checked.first_failure(completions)])
        failed, total = world.sum(len(checked.failures)), world.sum(len(completions))
        first = next((text for text in firsts if text), "")
        check_limit(failed, total, limit=self.max_failed, field=self.field, first=first)
        self._measure(checked, world)
        return checked

    def _measure(self, checked: CheckedScores, world: World) -> None:
        """Add up what the completions of all processes have cost."""
        if self.costs:
            own = {name: math.fsum(v for v in checked.parts.get(name, ()) if v is not None) for name in self.costs}
            where = self.field.removesuffix(".max_failed")
            for sums in world.concatenate([own]):
                self.meter.add({f"{where}.{name}": value for name, value in sums.items()})


def score_metrics(checked: CheckedScores, world: World) -> dict[str, float]:
    """`reward/failed`, `reward/abstained` and the mean of each part over the completions of all processes."""
    counts = {"reward/failed": float(world.sum(len(checked.failures)))}
    counts["reward/abstained"] = float(world.sum(checked.abstentions))
    return counts | {f"reward/{name}": value for name, value in _means(checked.parts, world).items()}


def _means(parts: Mapping[str, Sequence[float | None]], world: World) -> dict[str, float]:
    """The mean of each part over the completions that have one; a part that none has is left out."""
    columns: dict[str, list[float]] = {}
    for part in world.concatenate([{name: [v for v in values if v is not None] for name, values in parts.items()}]):
        for name, values in part.items():
            columns.setdefault(name, []).extend(values)
    return {name: math.fsum(values) / len(values) for name, values in columns.items() if values}


def as_tensor(values: Sequence[float | None]) -> Tensor:
    """[n]; NaN where there is no score."""
    return torch.tensor([math.nan if value is None else value for value in values])


def step_rewards(steps: Sequence[Sequence[StepScore]], tokens: Tensor, mask: Tensor, tokenizer: Tokenizer) -> Tensor:
    """The score of each step at the token with which its last character is complete, [B T]."""
    out = torch.zeros(mask.shape)
    for row, of_row in enumerate(steps):
        positions = mask[row].nonzero().squeeze(1).tolist()
        ends = _text_lengths(tokens[row][mask[row]].tolist(), tokenizer) if of_row else []
        for step in of_row:
            complete = next((i for i, end in enumerate(ends) if end >= step.end), len(ends) - 1)
            if positions:
                out[row, positions[complete]] += step.score
    return out


def _text_lengths(ids: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """The number of characters of the text of the first 1, 2, ... tokens."""
    prefixes = [list(ids[: i + 1]) for i in range(len(ids))]
    return [len(text) for text in tokenizer.decode_batch(prefixes, skip_special_tokens=True)]
