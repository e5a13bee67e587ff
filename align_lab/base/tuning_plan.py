"""Equal tuning of all arms before a study, decided before the first run."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from align_lab.base.errors import ConfigError
from align_lab.base.plan_fields import plan_of
from align_lab.base.registry import param

WORDS = "{trials: 12, sampler: sobol, seeds: [100, 101], space: declared, prune: false}: as many trials for each arm"
ETA = 3  # of successive halving: a rung keeps one trial in ETA, and gives it ETA times the steps


@dataclass(frozen=True, kw_only=True)
class TuningPlan:
    """Each arm is tried at `trials` points of its space, with each of the tuning `seeds`, on the development set.

    `space` is "declared" (the ranges that the fields declare) or a mapping: arm -> field -> range; an arm that it does
    not name has the declared ranges. A field that an arm or the command line sets is not tuned.
    """

    trials: int = param(12, "points of its space at which every arm is tried", low=1, high=10_000)
    space: Any = param(
        None, "declared (null), or arm -> {field: log(LOW, HIGH), uniform(LOW, HIGH), around(F) or a list}"
    )
    sampler: str = param(
        "sobol", "how points are chosen: sobol, quasi-random; tpe, by Optuna", choices=("sobol", "tpe")
    )
    seeds: list[int] = param([100, 101], "seeds of every trial; none of them may be one of the study's")
    prune: Any = param(
        False, "halving, or asha: successive halving, the same budget for every arm", choices=(False, "halving", "asha")
    )

    @property
    def spaces(self) -> Mapping[str, Mapping[str, Any]]:
        """arm -> field -> range as it is written, of the arms that have ranges of their own."""
        return cast("Mapping[str, Mapping[str, Any]]", self.space or {})


def tuning_plan(values: Mapping[str, Any], *, seeds: Collection[int]) -> TuningPlan:
    """The plan with these fields, for a study with these seeds. Raises ConfigError with all that is wrong."""
    plan = plan_of(TuningPlan, {name: _plain(name, value) for name, value in values.items()}, "tune.")
    if not plan.seeds or len(set(plan.seeds)) < len(plan.seeds) or not all(_is_seed(seed) for seed in plan.seeds):
        raise ConfigError(f"tune.seeds={plan.seeds}: it must be a list of different seeds, for example [100, 101]")
    if shared := sorted(set(plan.seeds) & set(seeds)):
        are = "is also a seed" if len(shared) == 1 else "are also seeds"
        others = itertools.islice((seed for seed in itertools.count(100) if seed not in seeds), len(plan.seeds))
        raise ConfigError(
            f"tune.seeds={plan.seeds}: {', '.join(map(str, shared))} {are} of the study, which would then be tuned on "
            f"its own runs. Choose others, for example tune.seeds=[{','.join(map(str, others))}]"
        )
    space = cast("Mapping[str, Any] | str | None", plan.space)
    if not isinstance(space, Mapping | None) or not all(isinstance(each, Mapping) for each in (space or {}).values()):
        raise ConfigError(f"tune.space={space}: it must be declared, or arm -> {{field: range}}")
    return plan


def _plain(name: str, value: Any) -> Any:
    if name == "prune" and value == "asha":
        return (
            "halving"  # the same rungs; each is taken once all of its trials have ended, so that arms get equal shares
        )
    return None if name == "space" and value == "declared" else value


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
