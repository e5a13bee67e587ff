"""Seeds in steps: looks, error and what is worth seeing, decided before the first run of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from align_lab.base.errors import ConfigError, near

RHO = 1.5  # exponent of the error spent: 1 is close to Pocock's bounds, 3 to O'Brien and Fleming's
WORDS = "a list of seeds, or {first: 4, step: 2, most: 30, stop: verdict}: in steps, until the verdict carries"


@dataclass(frozen=True, kw_only=True)
class SeedPlan:
    """Looks at `first`, `first + step`, ... up to `most` seeds an arm, and the rules by which seeds end.

    The error that is spent by the look at n seeds is (1 - confidence) · (n / most)^RHO, a family of Kim and DeMets 1987
    (Biometrika 74), for all pairs of arms together. `smallest` is the gap worth seeing, in units of the metric that
    decides. A pair ends when its interval excludes 0, or is inside ± smallest, or when the power that is left to see
    `smallest` falls below `hopeless`.
    """

    first: int = 4
    step: int = 2
    most: int = 30
    stop: str = "verdict"
    confidence: float = 0.95
    smallest: float = 0.1
    hopeless: float = 0.1

    @property
    def looks(self) -> tuple[int, ...]:
        """Seeds an arm at each look. The last one is `most`, also where the steps do not meet it."""
        return (*range(self.first, self.most, self.step), self.most)

    @property
    def error(self) -> float:
        """Probability, at most, that any pair of equal arms is ever called different."""
        return 1 - self.confidence

    def spent(self, look: int) -> float:
        """The part of the error that may be spent by the look with this number."""
        return self.error * (self.looks[look] / self.most) ** RHO

    def problems(self) -> list[str]:
        """What is wrong with it, in words for a user."""
        wrong: list[str] = []
        if self.first < 3:
            wrong.append(f"seeds.first={self.first}: a look needs 3 seeds an arm at least. Type seeds.first=3")
        if self.most < self.first:
            wrong.append(f"seeds.most={self.most} is below seeds.first={self.first}. Type seeds.most={self.first}")
        if self.step < 1:
            wrong.append(f"seeds.step={self.step}: each look needs one more seed at least. Type seeds.step=1")
        if self.stop != "verdict":
            wrong.append(f"seeds.stop={self.stop} is not known. Allowed: verdict. For a fixed number: seeds=[0,1,2]")
        if not 0 < self.confidence < 1:
            wrong.append(f"seeds.confidence={self.confidence:g} is not between 0 and 1. Type seeds.confidence=0.95")
        if self.smallest <= 0:
            wrong.append(f"seeds.smallest={self.smallest:g}: the gap worth seeing is above 0. Type seeds.smallest=0.1")
        if not 0 <= self.hopeless < 1:
            wrong.append(f"seeds.hopeless={self.hopeless:g} is no probability below 1. Type seeds.hopeless=0.1")
        return wrong

    def as_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


def seed_plan(values: Mapping[str, Any]) -> SeedPlan:
    """The plan with these fields. Raises ConfigError with all that is wrong."""
    known = SeedPlan().as_json()
    wrong = [f"seeds.{name} is not known: {near(str(name), known)}" for name in values if name not in known]
    wrong += [
        f"seeds.{name}={value}: it must be {_kind(known[name])}"
        for name, value in values.items()
        if name in known and not _has_type_of(value, known[name])
    ]
    plan = SeedPlan() if wrong else SeedPlan(**values)
    if wrong := wrong + plan.problems():
        raise ConfigError("\n".join(wrong))
    return plan


def _kind(default: Any) -> str:
    return {int: "a whole number", float: "a number", str: "text"}[type(default)]


def _has_type_of(value: Any, default: Any) -> bool:
    fits = isinstance(value, int | float) if isinstance(default, float) else type(value) is type(default)
    return fits and not isinstance(value, bool)
