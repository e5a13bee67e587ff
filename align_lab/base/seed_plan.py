"""Seeds in steps: looks, error and what is worth seeing, decided before the first run of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from align_lab.base.errors import ConfigError
from align_lab.base.plan_fields import plan_of
from align_lab.base.registry import param

CURVE, RHO = 0.8, 1.5  # of the error that looks before the last one spend: its share at the end, and its exponent
TOO_FEW = 3  # seeds at which a t test has so little freedom that a look there is spent nothing on
WORDS = "a list of seeds, or {first: 6, step: 2, most: 30, smallest: 0.1}: in steps, until the verdict carries"


@dataclass(frozen=True, kw_only=True)
class SeedPlan:
    """Looks at `first`, `first + step`, ... up to `most` seeds an arm, and the rules by which seeds end.

    The error that is spent by the look at n seeds is (1 - confidence) · 0.8 · ((n - 3) / (most - 3))^1.5, and all of it
    at the last one, for all pairs of arms together: the power family of Kim and DeMets 1987 (Biometrika 74), begun at
    three seeds and with a fifth kept for the end, because t statistics of few seeds pay dearly for early looks
    (docs/seeds.md). `smallest` is the gap worth seeing, in units of the metric that decides.
    A pair ends when its interval excludes 0, or is inside ± smallest, or when the power that is left to see `smallest`,
    or the gap as it is estimated now, falls below `hopeless`.
    """

    first: int = param(6, "seeds of every arm at the first look; at 3 nothing is decided yet", low=3)
    step: int = param(2, "further seeds of an arm at each later look", low=1)
    most: int = param(30, "seeds of an arm at the last look", low=3)
    stop: str = param("verdict", "when no further seeds are taken", choices=("verdict",))
    confidence: float = param(0.95, "that no pair of equal arms is called different at any look", low=0.5, high=0.999)
    smallest: float = param(0.1, "the gap worth seeing, in units of the metric that decides", above=0)
    hopeless: float = param(
        0.1, "a pair is given up below this power to see `smallest`, or the present estimate", low=0, high=0.9
    )
    paired: bool = param(
        False,
        "are arms compared seed by seed? Unless it is said: where a seed also moves the pairs, the reward or the start "
        "policy, which the arms of one seed share",
        choices=(True, False),
    )
    diverged: str = param(
        "worst",
        "a run that diverges: worst, it counts with the lowest score of its look; wait, the look waits until it is "
        "repaired",
        choices=("worst", "wait"),
    )

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
        n = self.looks[look]
        if n == self.most:
            return self.error
        return self.error * CURVE * ((n - TOO_FEW) / (self.most - TOO_FEW)) ** RHO


def seed_plan(values: Mapping[str, Any]) -> SeedPlan:
    """The plan with these fields. Raises ConfigError with all that is wrong."""
    plan = plan_of(SeedPlan, values, "seeds.")
    if plan.most < plan.first:
        raise ConfigError(f"seeds.most={plan.most} is below seeds.first={plan.first}. Type seeds.most={plan.first}")
    if "step" in values and plan.step > plan.most - plan.first > 0:
        raise ConfigError(
            f"seeds.step={plan.step} goes beyond seeds.most={plan.most}. Type seeds.step={plan.most - plan.first} for "
            f"two looks, at {plan.first} and {plan.most} seeds, or less for more"
        )
    return plan
