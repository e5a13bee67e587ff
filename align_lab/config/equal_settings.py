"""Settings that are not equal in all runs of a study, found before anything runs: `compare` would refuse such runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from align_lab.base.errors import ConfigError, short
from align_lab.base.roles import role
from align_lab.base.run_config import RunConfig, leaves

MOST = 3  # fields that a message names
NOT_THERE = "not there"

ByArm = Mapping[str, Sequence[str]]  # arm -> the values of a field in its runs, as text


def refuse_arms(runs: Sequence[RunConfig]) -> None:
    """Raises ConfigError where a setting has other values in one arm than in another.

    What the command sweeps (`-m sampling.temperature=0.7,1`) has the same values in every arm, and passes.
    """
    apart = {field: arms for field, arms in _several(runs).items() if len(set(map(tuple, arms.values()))) > 1}
    if not apart:
        return
    shown = [
        f"{_typed(field)} ({'; '.join(f'{arm}: {_listed(values)}' for arm, values in arms.items())})"
        for field, arms in apart.items()
    ]
    field, arms = next(iter(apart.items()))
    value = next(value for values in arms.values() for value in values if value != NOT_THERE).strip('"')
    raise ConfigError(
        f"the arms differ in {_some(shown)}. A setting must be equal in all arms, else compare refuses the runs. "
        f"Leave it out of the arms and type it once, for all: {_typed(field)}={value}. Where the study is about it, "
        f"sweep it in place of arms, -m {_typed(field)}=A,B, and type compare STUDY --allow={_typed(field)}"
    )


def caution(runs: Sequence[RunConfig]) -> str:
    """What is to be known of a study whose command sweeps a setting; empty where all settings are equal."""
    swept = _several(runs)
    if not swept:
        return ""
    shown = [f"{_typed(field)} ({_listed(chain(*arms.values()))})" for field, arms in swept.items()]
    allow = " ".join(f"--allow={_typed(field)}" for field in [*swept][:MOST])
    return f"a setting, {_some(shown)}, is not equal in all runs: compare refuses them, unless you type {allow}"


def _several(runs: Sequence[RunConfig]) -> dict[str, ByArm]:
    """Settings with several values; of another component in a group, its name alone and not its fields.

    Seeds change no setting, so that the runs of one seed speak for all.
    """
    arms: dict[str, dict[str, list[str]]] = {}
    for run in runs:
        if run.seed == runs[0].seed:
            values = arms.setdefault(str(run["arm"] or run.choices["algo"]), {})
            for field, value in leaves(run.values):
                if field != "seed" and role(field) == "setting":
                    values.setdefault(field, []).append(json.dumps(value, sort_keys=True))
    fields = dict.fromkeys(chain(*arms.values()))
    found = {
        field: {arm: sorted({*values.get(field, [NOT_THERE])}) for arm, values in arms.items()} for field in fields
    }
    several = {field: by_arm for field, by_arm in found.items() if len({*chain(*by_arm.values())}) > 1}
    components = {field.removesuffix("name") for field in several if field.endswith(".name")}
    return {
        field: by_arm
        for field, by_arm in several.items()
        if not any(field.startswith(part) and field != f"{part}name" for part in components)
    }


def _typed(field: str) -> str:
    """As it is typed, and as `--allow` names it: of another component, its group."""
    return field.removesuffix(".name")


def _listed(values: Iterable[str]) -> str:
    return ", ".join(short(value, 40) for value in dict.fromkeys(values))


def _some(shown: Sequence[str]) -> str:
    rest = len(shown) - MOST
    return "; ".join(shown[:MOST]) + (f" and {rest} more" if rest > 0 else "")
