"""Seeds in steps: looks, error and what is worth seeing, decided before the first run of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from align_lab.base.errors import ConfigError
from align_lab.base.plan_fields import plan_of
from align_lab.base.registry import param

RHO = 1.5  # exponent of the error spent: 1 is close to Pocock's bounds, 3 to O'Brien and Fleming's
WORDS = "a list of seeds, or {first: 4, step: 2, most: 30, smallest: 0.1}: in steps, until the verdict carries"


@dataclass(frozen=True, kw_only=True)
class SeedPlan:
    """Looks at `first`, `first + step`, ... up to `most` seeds an arm, and the rules by which seeds end.

    The error that is spent by the look at n seeds is (1 - confidence) · (n / most)^RHO, a family of Kim and DeMets 1987
    (Biometrika 74), for all pairs of arms together. `smallest` is the gap worth seeing, in units of the metric that
    decides. A pair ends when its interval excludes 0, or is inside ± smallest, or when the power that is left to see
    `smallest` falls below `hopeless`.
    """

    first: int = param(4, "seeds of every arm at the first look", low=3)
    step: int = param(2, "further seeds of an arm at each later look", low=1)
    most: int = param(30, "seeds of an arm at the last look", low=3)
    stop: str = param("verdict", "when no further seeds are taken", choices=("verdict",))
    confidence: float = param(0.95, "that no pair of equal arms is called different at any look", low=0.5, high=0.999)
    smallest: float = param(0.1, "the gap worth seeing, in units of the metric that decides", above=0)
    hopeless: float = param(0.1, "a pair is given up below this power to see `smallest`", low=0, high=0.9)

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


def seed_plan(values: Mapping[str, Any]) -> SeedPlan:
    """The plan with these fields. Raises ConfigError with all that is wrong."""
    plan = plan_of(SeedPlan, values, "seeds.")
    if plan.most < plan.first:
        raise ConfigError(f"seeds.most={plan.most} is below seeds.first={plan.first}. Type seeds.most={plan.first}")
    return plan
