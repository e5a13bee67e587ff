"""Training in rounds: the experience of several steps is sampled at once, by the policy that the round begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from align_lab.train.experience import Collected, ExperienceSource


@dataclass(kw_only=True)
class Rounds:
    """The steps of a round are collected before its first update, and charged when they are used.

    What is not used yet is part of the checkpoint, so that a continued run does not sample it from a later policy.
    """

    source: ExperienceSource
    steps: int
    waiting: list[Collected] = field(default_factory=list["Collected"])

    def collect(self, step: int, *, groups: int) -> Collected:
        """The experience of one step of the round."""
        if not self.waiting:
            before = self.source.state_dict()
            try:
                self.waiting = _timed([self.source.collect(step + k, groups=groups) for k in range(self.steps)])
            except Exception:
                self.source.load_state_dict(before)
                raise
        return self.waiting.pop(0)

    def state_dict(self) -> dict[str, Any]:
        """The state of the source, and the steps of this round that are not used yet."""
        return {"source": self.source.state_dict(), "waiting": [one.state_dict() for one in self.waiting]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.source.load_state_dict(state["source"])
        self.waiting = [Collected.from_state(one) for one in state["waiting"]]


def _timed(collected: list[Collected]) -> list[Collected]:
    """The seconds of all steps belong to the first, in which they are spent."""
    names = collected[0].seconds
    total = {name: sum(one.seconds[name] for one in collected) for name in names}
    none = dict.fromkeys(names, 0.0)
    return [replace(one, seconds=none if k else total) for k, one in enumerate(collected)]
