"""Whether the verdicts of a study compare its arms seed by seed, as its file declares it before the first run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from align_lab.base import vary
from align_lab.base.errors import ConfigError
from align_lab.base.run_config import RunConfig
from align_lab.base.seed_plan import SeedPlan
from align_lab.config.root import StudySettings

WORDS = {
    True: "paired: verdicts compare the arms seed by seed",
    False: "unpaired: verdicts compare the arms' means, not seed by seed",
}


def declared(
    settings: StudySettings, plan: SeedPlan | None, runs: Sequence[RunConfig]
) -> tuple[StudySettings, SeedPlan | None]:
    """`paired` stands in one place, beside `seeds` or among their steps. Where it is not said, seeds are paired if they
    also move stages, which the runs of a seed share. Raises ConfigError where both places say something else.
    """
    inside, beside = _inside(settings.seeds), settings.paired
    if inside is not None and beside is not None and inside != beside:
        raise ConfigError(f"paired={beside}, and seeds.paired={inside}: leave one of the two out")
    said = beside if inside is None else inside
    paired = any(vary.shared(vary.of(run.values)) for run in runs) if said is None else bool(said)
    return dataclasses.replace(settings, paired=paired), plan and dataclasses.replace(plan, paired=paired)


def _inside(seeds: Any) -> Any:
    return cast("Mapping[str, Any]", seeds).get("paired") if isinstance(seeds, Mapping) else None


def sentence(settings: StudySettings, runs: Sequence[RunConfig]) -> str:
    """How verdicts treat seeds, and why; empty where there is one arm, or nothing is declared."""
    if settings.paired is None or len({run["arm"] or run.choices["algo"] for run in runs}) < 2:
        return ""
    moved = list(dict.fromkeys(name for run in runs for name in vary.of(run.values) if name != vary.RL))
    why = f"the runs of a seed share its builds of {', '.join(moved)}" if moved else "a seed moves RL alone"
    return f"{WORDS[settings.paired]} ({why})"
