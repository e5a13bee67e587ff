"""Experience that is read from a set of preferences, pairs or single completions, and what the set has cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from align_lab.base.random import stream
from align_lab.base.types import Rollout
from align_lab.train.draws import draw
from align_lab.train.experience import Collected, Experience, trim


@dataclass(frozen=True, kw_only=True)
class PairCost:
    """What a set of pairs has cost.

    Pairs that the reward labels cost every completion that was sampled and scored for them; pairs of the data cost
    their two completions and one label each, a completion with a label of its own costs both once, and nothing was
    generated.
    """

    episodes: int
    tokens: int
    labels: int
    prompt_tokens: int = 0
    reference_tokens: int = 0
    scoring: Mapping[str, float] = field(default_factory=dict[str, float])  # sums of what scoring them cost, by part


@dataclass(kw_only=True)
class Pairs:
    """Batches of a preference set. A pair is charged to the budget the first time it is used."""

    experience: Experience  # all N pairs [N 2 S+T], or each of the completions by itself [N 1 S+T]
    cost: PairCost  # of the whole set
    seed: int
    noise: bool = False  # give the algorithm uniform random numbers
    drawn: int = 0  # groups so far

    def collect(self, step: int, *, groups: int) -> Collected:
        """The groups of one step."""
        rows = draw(len(self.experience.ids), groups, self.drawn, self.seed)
        before, self.drawn = self.drawn, self.drawn + groups
        experience = trim(self.experience.take(rows))
        if self.noise:
            numbers = stream("noise of pairs", self.seed, before).random(experience.rollout.score.shape)
            noise = torch.from_numpy(numbers).to(experience.rollout.score)
            experience = replace(experience, rollout=replace(experience.rollout, noise=noise))
        return Collected(
            experience=experience,
            episodes=self._charge(self.cost.episodes, before),
            tokens=self._charge(self.cost.tokens, before),
            labels=self._charge(self.cost.labels, before),
            prompt_tokens=self._charge(self.cost.prompt_tokens, before),
            reference_tokens=self._charge(self.cost.reference_tokens, before),
            scoring={name: self._share(cost, before) for name, cost in self.cost.scoring.items()},
            ended=None,
            seconds={},
        )

    def state_dict(self) -> dict[str, Any]:
        """The number of groups that were drawn."""
        return {"drawn": self.drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.drawn = state["drawn"]

    def _charge(self, cost: int, before: int) -> int:
        """The step's share of the cost of the set. The shares of one pass add up to it; further passes are free."""
        total = len(self.experience.ids)
        first, last = min(total, before), min(total, self.drawn)
        return round(cost * last / total) - round(cost * first / total)

    def _share(self, cost: float, before: int) -> float:
        """The same of a cost that is not counted in whole numbers."""
        total = len(self.experience.ids)
        return cost * (min(total, self.drawn) - min(total, before)) / total


def load_pairs(folder: Path, *, seed: int, paired: bool = True, noise: bool = False) -> Pairs:
    """The set as a source of experience. logp_old is the start policy's, so logp_ref equals it.

    `paired` False: every completion is a group of its own, with score 1 where it is desirable, or was chosen, and 0
    where not.
    """
    device = torch.get_default_device()
    tensors = {name: value.to(device) for name, value in load_file(folder / "pairs.safetensors").items()}
    rollout = Rollout(
        mask=tensors["mask"], score=tensors["score"], logp_old=tensors["logp_old"], logp_ref=tensors["logp_old"]
    )
    experience = Experience(ids=tensors["ids"], pad=tensors["pad"], rollout=rollout)
    return Pairs(
        experience=experience if paired or experience.ids.shape[1] == 1 else separated(experience),
        cost=PairCost(**json.loads((folder / "cost.json").read_text())),
        seed=seed,
        noise=noise,
    )


def separated(pairs: Experience) -> Experience:
    """Pairs [N 2 ...] -> their completions [2N 1 ...], with score 1 for the chosen and 0 for the rejected."""
    x = pairs.rollout
    score = torch.zeros_like(x.score)
    score[:, 0] = 1
    logp = x.logp_old.flatten(0, 1).unsqueeze(1)
    return Experience(
        ids=pairs.ids.flatten(0, 1).unsqueeze(1),
        pad=pairs.pad.flatten(0, 1).unsqueeze(1),
        rollout=Rollout(
            mask=x.mask.flatten(0, 1).unsqueeze(1), score=score.flatten()[:, None], logp_old=logp, logp_ref=logp
        ),
    )
