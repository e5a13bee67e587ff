"""How good a trained judge is: its accuracy on held-out pairs, as its artefact measured it, beside that of people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align_lab.base.files import read_json

METRICS = "metrics.json"
JUDGES = "judges."  # what the names of their stages begin with
Z = 1.96  # of a 95 % interval
REMEDY = "What it says of a policy means little. Train it on more pairs or for more epochs, or choose another"
WITHOUT_COUNT = 0.05  # half an interval where the number of pairs is not recorded: that of a thousand rated texts


@dataclass(frozen=True, kw_only=True)
class JudgeQuality:
    """Shares of held-out pairs that a judge orders as people do; `ceiling`: that of one person, where it is known."""

    accuracy: float
    low: float
    high: float
    ceiling: float | None = None

    @property
    def near_chance(self) -> bool:
        """Does the interval include one half, or lie below it?"""
        return self.low <= 0.5

    @property
    def words(self) -> str:
        """`right on 73 % of held-out pairs (one person: 90 %)`."""
        people = f" (one person: {self.ceiling:.0%})" if self.ceiling is not None else ""
        return f"right on {self.accuracy:.0%} of held-out pairs{people}".replace("%", " %")

    @property
    def doubt(self) -> str:
        """`hardly better than chance: 51.0 % of held-out pairs, ...`, and what to do; empty where it is better."""
        if not self.near_chance:
            return ""
        low, high = 100 * self.low, 100 * self.high
        share = f"{100 * self.accuracy:.1f} % of held-out pairs, 95 % interval {low:.1f} to {high:.1f} %"
        return f"hardly better than chance: {share}. {REMEDY}"

    def warning(self, label: str) -> str:
        """What a judge near chance means for the results."""
        return f"WARNING: the {label} is {self.doubt}"


def of_stages(folders: Mapping[str, Path]) -> dict[str, JudgeQuality]:
    """Metric -> quality of the trained reward or judge that gives it, from the folders of a run's stages by name."""
    known = {
        "eval/score" if stage == "reward" else f"eval/{stage.removeprefix(JUDGES)}": quality_of(folder)
        for stage, folder in folders.items()
        if stage == "reward" or stage.startswith(JUDGES)
    }
    return {key: quality for key, quality in known.items() if quality}


def quality_of(artefact: Path) -> JudgeQuality | None:
    """Of a built judge or reward model; None where its artefact has measured no accuracy."""
    return quality(read_json(artefact / METRICS))


def quality(measured: Mapping[str, Any]) -> JudgeQuality | None:
    """From `accuracy`, `pairs` (their number, for Wilson's interval) and `human_ceiling` of an artefact's metrics."""
    accuracy, pairs, ceiling = (measured.get(name) for name in ("accuracy", "pairs", "human_ceiling"))
    if not isinstance(accuracy, int | float) or not 0 <= accuracy <= 1:
        return None
    low, high = accuracy - WITHOUT_COUNT, accuracy + WITHOUT_COUNT
    if isinstance(pairs, int) and pairs > 0:
        low, high = _wilson(accuracy, pairs)
    people = float(ceiling) if isinstance(ceiling, int | float) else None
    return JudgeQuality(accuracy=float(accuracy), low=max(0.0, low), high=min(1.0, high), ceiling=people)


def _wilson(share: float, count: int) -> tuple[float, float]:
    """Ends of Wilson's 95 % interval of a share of `count` independent pairs."""
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return middle - half, middle + half
