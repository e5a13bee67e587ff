"""Runs that diverged, of a study whose seeds came in steps: with which score its looks count them, or why they wait."""

from __future__ import annotations

from collections.abc import Iterator

from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.divergence import share
from align_lab.compare.sequential.looks import Looks


def warnings(looks: Looks) -> Iterator[str]:
    """A sentence beside the verdict: which runs have no score of their own, and by which rule they count."""
    parts = [
        f"{share(arm, [*counted], looks.seeds(arm))}, with {min(counted.values()):.3g}"
        for arm, counted in looks.counted.items()
    ]
    if parts:
        yield (
            "Runs that diverged count in pairs with the lowest score of their look, also of those before training, as "
            f"the plan declared before the first run (seeds.diverged=worst): {'; '.join(parts)}. Means of single arms, "
            "curves and samples are of the runs that finished."
        )


def blocked(looks: Looks, plan: SeedPlan) -> str:
    """Why the runs that diverged are waited for, and what can be done."""
    which = "; ".join(f"{arm} seed {', '.join(map(str, seeds))}" for arm, seeds in looks.diverged.items())
    if plan.diverged == "worst":
        return (
            f"Diverged: {which}. Such a run counts with the lowest score of its look (seeds.diverged=worst), but no "
            "run of this look has ended with one."
        )
    return (
        f"Diverged: {which}. This plan waits until that is repaired (seeds.diverged=wait), which may never be. A plan "
        "with seeds.diverged=worst counts such a run with the lowest score of its look; as another plan it needs a "
        "name of its own: study=NAME."
    )
