"""Experience of two sources in fixed shares: pairs of a preference set, and groups that the policy samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from align_lab.train.experience import PAIR, SAMPLED, Collected, Experience, join, trim
from align_lab.train.pair_source import Pairs
from align_lab.train.rollouts import Rollouts


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """`share` of all groups so far are pairs of the set, to within one group; the pairs come first in a step."""

    pairs: Pairs
    rollouts: Rollouts
    share: float

    def collect(self, step: int, *, groups: int) -> Collected:
        """The groups of both sources, with `origin`, and what both cost."""
        before, after = (math.floor(self.share * groups * count + 1e-9) for count in (step, step + 1))
        sizes = {PAIR: after - before, SAMPLED: groups - (after - before)}
        unchanged = self.state_dict()
        parts: dict[int, Collected] = {}
        try:
            for origin, source in ((PAIR, self.pairs), (SAMPLED, self.rollouts)):
                if sizes[origin]:
                    parts[origin] = source.collect(step, groups=sizes[origin])
        except Exception:
            self.load_state_dict(unchanged)
            raise
        return together(parts, fill=self.rollouts.prompts.eos)

    def state_dict(self) -> dict[str, Any]:
        """The states of both sources."""
        return {"pairs": self.pairs.state_dict(), "rollouts": self.rollouts.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.pairs.load_state_dict(state["pairs"])
        self.rollouts.load_state_dict(state["rollouts"])


def together(parts: Mapping[int, Collected], *, fill: int) -> Collected:
    """One step of what each origin gave; costs add up, and the metrics are those of the sampled completions."""
    every, sampled = list(parts.values()), parts.get(SAMPLED)
    other_engine = sampled is not None and sampled.experience.rollout.logp_sampler is not None
    experience = [_marked(part.experience, origin, other_engine) for origin, part in parts.items()]
    return Collected(
        experience=trim(join(experience, fill=fill)),
        episodes=sum(part.episodes for part in every),
        tokens=sum(part.tokens for part in every),
        labels=sum(part.labels for part in every),
        prompt_tokens=sum(part.prompt_tokens for part in every),
        reference_tokens=sum(part.reference_tokens for part in every),
        scoring={name: cost for part in every for name, cost in part.scoring.items()},  # of the pairs alone
        scored_tokens=sum(part.scored_tokens for part in every),
        ended=sampled.ended if sampled else None,
        seconds=sampled.seconds if sampled else {},
        metrics=sampled.metrics if sampled else {},
    )


def _marked(experience: Experience, origin: int, other_engine: bool) -> Experience:
    """With `origin`. Where another engine has sampled, `logp_sampler` of pairs is `logp_old`: their weight is 1."""
    rollout = replace(experience.rollout, origin=torch.full((len(experience.ids),), origin, dtype=torch.long))
    if other_engine and rollout.logp_sampler is None:
        rollout = replace(rollout, logp_sampler=rollout.logp_old)
    return replace(experience, rollout=rollout)
