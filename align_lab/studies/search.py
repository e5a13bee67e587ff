"""Where a search looks: the space of each arm, and the points that it tries. Pure functions of plan and config."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from align_lab.base import registry
from align_lab.base.errors import ConfigError, near
from align_lab.base.roles import role
from align_lab.base.run_config import RunConfig, leaves
from align_lab.base.search_space import FORMS, Around, Declared, Range, parse
from align_lab.base.settings import Preferences

Space = Mapping[str, Range]  # dotted field -> the values that are tried
Point = dict[str, Any]  # dotted field -> the value
NOT_TUNED = {  # role of a field -> why it is no part of a space
    "setting": "it is a setting, which has to be equal in all arms",
    "budget": "it is a budget, which every trial is to have alike",
    "none": "it changes no result",
}
AMOUNTS = ("train.group_size", "train.prompts_per_step", "preferences.pairs", "preferences.samples")  # of completions
SEED = 0  # of the quasi-random points: the same for every study


def declared(cfg: RunConfig) -> dict[str, Declared]:
    """The ranges that the algorithm and the training declare, without those that this run would not read, or that it
    has switched off (.inf).
    """
    ranges = {f"algo.{name}": one for name, one in _of(registry.lookup("algo", cfg["algo"]["name"]))}
    ranges |= {f"train.{name}": one for name, one in _of(registry.lookup("train", cfg["train"]["name"]))}
    needs = cfg.algo.needs
    unread = {"train.critic_lr": needs.critic is None, "train.epochs": needs.single_update}
    off = {f"{group}.{name}" for group in ("algo", "train") for name, value in cfg[group].items() if value == math.inf}
    return {field: one for field, one in ranges.items() if not unread.get(field) and field not in off}


def _of(component: type) -> Iterator[tuple[str, Declared]]:
    for spec in dataclasses.fields(component):
        if (tune := spec.metadata.get("tune")) is not None:
            yield spec.name, tune


def space_of(
    arm: str, cfg: RunConfig, *, written: Mapping[str, Any] | None, fixed: Collection[str]
) -> dict[str, Range]:
    """The space of an arm: as `written` in the sweep file, else as declared without the fields that are `fixed`.

    Raises ConfigError for a field that does not exist or is none of a recipe, a range outside the field's bounds, or an
    empty space.
    """
    where = f"tune.space.{arm}"
    if written is None:
        asked = {field: one for field, one in declared(cfg).items() if field not in fixed}
    else:
        asked = {field: parse(text, f"{where}.{field}") for field, text in written.items()}
        if both := sorted(set(asked) & set(fixed)):
            raise ConfigError(f"{where}.{both[0]}: the arm or the command line sets this field, so it cannot be tuned")
    if not asked:
        raise ConfigError(
            f"{arm} has nothing to tune: its fields are all set, or declare no range. Give it a space: "
            f"{where}={{train.lr: around(3)}}"
        )
    values = dict(leaves(cfg.values))
    for field in asked:
        _check_is_of_recipe(f"{where}.{field}", field, values, cfg)
    space = {field: _about(f"{where}.{field}", one, values[field]) for field, one in asked.items()}
    for field, one in space.items():
        _check_bounds(f"{where}.{field}={one}", field, one, cfg)
    return space


def _check_is_of_recipe(where: str, field: str, values: Mapping[str, Any], cfg: RunConfig) -> None:
    """Raises ConfigError for what is no field, or one that may not differ between the trials of a fair comparison."""
    if field not in values:
        raise ConfigError(f"{where}: there is no such field. {near(field, values)}")
    name = field.rpartition(".")[2]
    if name == "seed":
        raise ConfigError(
            f"{where}: a seed is chance, and not to be chosen by its score. Trials have tune.seeds=[100,101]"
        )
    if name == "name":
        raise ConfigError(
            f"{where}: a component is an arm of its own: arms: {{NAME: [{field.rpartition('.')[0]}=...]}}"
        )
    if (words := NOT_TUNED.get(role(field))) is not None:
        raise ConfigError(
            f"{where}: {words}, and only fields of the recipe are tuned: algo.*, and those of train.* that end no run. "
            f"Leave it out, or set it for all arms: {field}={values[field]}"
        )
    if field in AMOUNTS and not any(vars(cfg.train.budget).values()):
        raise ConfigError(
            f"{where}: it changes how many completions a run is charged, and some trials would get more than others. "
            "End all runs at an equal cost: budget.episodes=1920"
        )


def _about(where: str, asked: Declared, value: Any) -> Range:
    """The range around the recipe's value. Raises ConfigError for a value without a logarithm."""
    positive = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    if isinstance(asked, Around) and not positive:
        raise ConfigError(f"{where}={asked}: the recipe has {value}, and around needs a number above 0. Write {FORMS}")
    return asked.about(value)


def _check_bounds(where: str, field: str, tried: Range, cfg: RunConfig) -> None:
    """Raises ConfigError where the field would refuse an end of its range."""
    group, _, inside = field.partition(".")
    component = registry.lookup(group, cfg[group]["name"]) if group in cfg.choices else Preferences
    for end in tried.ends():
        nested: Any = end
        for name in reversed(inside.split(".")):
            nested = {name: nested}
        if wrong := registry.problems(component, nested, f"{group}."):
            own = declared(cfg).get(field)
            allowed = f"{own.typed}, which the field declares" if own else f"one within its bounds: {FORMS}"
            raise ConfigError(f"{where}: {wrong[0]}. Write another range, for example {allowed}")


def sobol(spaces: Mapping[str, Space], trials: int) -> dict[str, list[Point]]:
    """The points of every arm: quasi-random (Sobol, scrambled), and at equal places in the fields that arms share.

    Each field has a dimension of its own over all arms.
    """
    from scipy.stats import qmc

    fields = sorted({field for space in spaces.values() for field in space})
    power = (trials - 1).bit_length()
    unit = qmc.Sobol(len(fields), rng=SEED).random_base2(power)[:trials]
    return {
        arm: [{field: one.at(row[fields.index(field)]) for field, one in space.items()} for row in unit.tolist()]
        for arm, space in spaces.items()
    }


def tpe(space: Space, told: Sequence[tuple[Point, float | None]], count: int) -> list[Point]:
    """The next `count` points by Optuna's tree-structured Parzen estimator, after those that were `told`.

    A point without a score (a run that diverged) is told as the worst. Raises ConfigError where Optuna is missing.
    """
    if not registry.installed("optuna"):
        raise ConfigError("tune.sampler=tpe needs the package optuna: pip install 'align_lab[optuna]', or use sobol")
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    axes: dict[str, optuna.distributions.BaseDistribution] = {
        field: optuna.distributions.FloatDistribution(0, 1) for field in space
    }
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=SEED + len(told), n_startup_trials=4, constant_liar=True),
    )
    scores = [score for _, score in told if score is not None]
    for point, score in told:
        places = {field: min(max(one.place(point[field]), 0.0), 1.0) for field, one in space.items()}
        value = score if score is not None else min(scores, default=0.0)
        study.add_trial(optuna.trial.create_trial(params=places, distributions=axes, value=value))
    asked = [study.ask(axes).params for _ in range(count)]
    last = 1 - 2**-30  # `at` takes numbers below 1
    return [{field: one.at(min(row[field], last)) for field, one in space.items()} for row in asked]


def overrides(point: Mapping[str, Any]) -> list[str]:
    """As they are typed on a command line."""
    return [f"{field}={value}" for field, value in point.items()]
