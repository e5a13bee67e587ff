"""May these runs be compared? Settings must be equal, recipes may differ and are listed, budgets are charged. Pure.

Two values are equal where their JSON is, as in a run's signature: 1, 1.0, "1" and true are four values, and null is not
the same as a field that is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from align_lab.base.errors import ConfigError, near
from align_lab.base.roles import role
from align_lab.compare.builds import by_seed
from align_lab.compare.document import ByArm, Charged, Comparability, Differing
from align_lab.compare.runs import Run
from align_lab.compare.values import exact, plain

PAIRED = {"seed"}  # differs between the runs of one arm, by design
CODE = ("source", "plugins", "torch")  # allowed to differ, they make no other arms: they are then said not to matter
CHARGED = ("episodes", "tokens", "labels", "device_seconds", "flops", "peak_memory_gib")
SPENT = (*CHARGED, "preference_pairs")  # what a run records; pairs of the data are named in a note
NOT_RECORDED = "not recorded"
NOT_APPLICABLE = "not applicable"
HASHES = "hashes."  # before the name of a hash that a setting has too
MISSING = object()  # equal to nothing that a record can hold

Names = dict[str, list[str]]  # value as text -> names of the runs that have it


def settings(runs: Sequence[Run]) -> dict[str, Names]:
    """Every setting and every hash: field -> {value as text: names of the runs that have it, where there are several
    values}.

    What a run does not hold, because another version wrote it, is a value of its own: nothing is proven about it.
    Of a stage that varies with the seed, runs of one seed must have one build.
    """
    runs = by_seed(runs)
    fields = _values([(run.name, run.fields) for run in runs], lambda key: role(key) == "setting" and key not in PAIRED)
    hashes = _values([(run.name, run.hashes) for run in runs], lambda key: role(key) != "recipe")
    return fields | {f"{HASHES}{key}" if key in fields else key: names for key, names in hashes.items()}


def _values(records: Sequence[tuple[str, Mapping[str, Any]]], counts: Callable[[str], bool]) -> dict[str, Names]:
    """Runs that share one mapping are looked at once."""
    shared: dict[int, tuple[Mapping[str, Any], list[str]]] = {}
    for name, record in records:
        shared.setdefault(id(record), (record, []))[1].append(name)
    keys = dict.fromkeys(key for record, _ in shared.values() for key in record if counts(key))
    return {key: _by_value([(record.get(key, MISSING), names) for record, names in shared.values()]) for key in keys}


def _by_value(values: Sequence[tuple[Any, list[str]]]) -> Names:
    names: dict[str, list[list[str]]] = defaultdict(list)
    for value, members in values:
        names[_exact(value)].append(members)
    several = len(names) > 1
    texts = _legible({_exact(value): value for value, _ in values})
    return {texts[key]: sorted(chain(*members)) if several else [] for key, members in names.items()}


def _exact(value: Any, missing: str = NOT_RECORDED) -> str:
    """Texts are in quotation marks, so that no value reads like one that is missing."""
    return missing if value is MISSING else exact(value)


def _legible(values: Mapping[str, Any]) -> dict[str, str]:
    """Exact text -> the text that readers see: without quotation marks, unless two values would then read alike."""
    bare = {text: value if isinstance(value, str) else text for text, value in values.items()}
    unambiguous = len(set(bare.values())) == len(bare) and NOT_RECORDED not in values.values()
    return bare if unambiguous else {text: text for text in values}


def is_allowed(field: str, allow: Sequence[str]) -> bool:
    """By its name, or by the name of the group that it lies in."""
    return any(field == name or field.startswith(f"{name}.") for name in allow)


def _refuse_unknown(allow: Sequence[str], fields: Collection[str]) -> None:
    """Raises ConfigError for a name that is neither a setting of the runs nor a group of settings."""
    for name in allow if fields else ():
        if not any(is_allowed(field, [name]) for field in fields):
            groups = {field.rpartition(".")[0] for field in fields} - {""}
            hint = near(name, {*fields, *groups})
            raise ConfigError(
                f"--allow={name}: the runs have no setting, and no group of settings, of this name. {hint}"
            )


def proof(runs: Sequence[Run], groups: Mapping[str, Sequence[Run]], allow: Sequence[str]) -> Comparability:
    """`comparability` of the comparison document: what is equal, what differs, what each arm's recipe is and cost.

    `runs`: all that were read, those included that are set aside because another has their arm and seed; what differs
    among any two of them is not equal. `groups`: the runs of each arm that are used. Raises ConfigError where `allow`
    names no setting.
    """
    values = settings(runs)
    _refuse_unknown(allow, {*values, *chain.from_iterable(run.hashes for run in runs)})
    differ: list[Differing] = [
        {"field": field, "values": names, "allowed": is_allowed(field, allow)}
        for field, names in values.items()
        if len(names) > 1
    ]
    return {
        "fair": bool(runs) and all(one["allowed"] for one in differ),
        "equal": [{"field": field, "value": next(iter(names))} for field, names in values.items() if len(names) == 1],
        "differing": differ,
        "recipes": _by_arm(groups, "recipe"),
        "budgets": _by_arm(groups, "budget"),
        "charged": [_charged(arm, members) for arm, members in groups.items()],
    }


def _by_arm(groups: Mapping[str, Sequence[Run]], of_role: str) -> list[ByArm]:
    """Fields that differ between arms. The runs of an arm have one recipe, so that its first run speaks for all."""
    fields = {arm: {**members[0].fields, **members[0].hashes} for arm, members in groups.items()}
    keys = dict.fromkeys(key for one in fields.values() for key in one if role(key) == of_role)
    rows = {key: {arm: one.get(key, MISSING) for arm, one in fields.items()} for key in keys}
    return [
        {"field": key, "values": {arm: _plain(value) for arm, value in values.items()}}
        for key, values in rows.items()
        if _several(values.values())
    ]


def _plain(value: Any) -> Any:
    return NOT_APPLICABLE if value is MISSING else plain(value)


def _charged(arm: str, members: Sequence[Run]) -> Charged:
    """What a run of this arm has spent, in the mean."""

    def mean(name: str) -> float | None:
        spent = [run.spent[name] for run in members if run.spent.get(name) is not None]
        return sum(spent) / len(spent) if spent else None

    return {
        "arm": arm,
        "episodes": mean("episodes"),
        "tokens": mean("tokens"),
        "labels": mean("labels"),
        "device_seconds": mean("device_seconds"),
        "flops": mean("flops"),
        "peak_memory_gib": mean("peak_memory_gib"),
    }


def arms(runs: Sequence[Run], allow: Sequence[str] = ()) -> dict[str, list[Run]]:
    """Runs of one recipe and budget, under the arm's or the algorithm's name and whatever else tells equal names apart.

    Settings that are allowed to differ make arms of their own, except for code. The code of a plug-in that belongs to
    the recipe makes them where it is not allowed to differ. No run is lost: every run is in one arm.
    """
    seen = by_seed(runs)
    recorded = {id(one): run for one, run in zip(seen, runs, strict=True)}
    runs = seen
    apart = [field for field in _differing(runs) if is_allowed(field, allow) and field not in CODE]
    recipes: dict[tuple[int, int], str] = {}
    by_name: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        shared = (id(run.fields), id(run.hashes))
        if shared not in recipes:
            recipes[shared] = exact(_recipe(run, allow))
        key = f"{recipes[shared]} {[_exact(_value(run, field)) for field in apart]}"
        by_name[run.base][key].append(run)
    result: dict[str, list[Run]] = {}
    for base, groups in sorted(by_name.items()):
        for label, members in _labeled(base, list(groups.values()), apart):
            result[_free(label, result)] = sorted((recorded[id(run)] for run in members), key=lambda run: run.seed)
    return result


def _differing(runs: Sequence[Run]) -> list[str]:
    return [field for field, names in settings(runs).items() if len(names) > 1]


def _recipe(run: Run, allow: Sequence[str] = ()) -> dict[str, Any]:
    """Fields and hashes that belong to a run's recipe and budget; of these hashes, those that are not allowed to
    differ.
    """
    hashes = {key: value for key, value in run.hashes.items() if not is_allowed(key, allow)}
    return {key: value for key, value in {**run.fields, **hashes}.items() if role(key) in ("recipe", "budget")}


def _value(run: Run, field: str) -> Any:
    return run.fields.get(field, run.hashes.get(field.removeprefix(HASHES), MISSING))


def _labeled(base: str, groups: Sequence[list[Run]], apart: Sequence[str]) -> Iterable[tuple[str, list[Run]]]:
    """Each group under the name they share, with the fields that tell it from the others."""
    if len(groups) == 1:
        return [(base, groups[0])]
    firsts = [members[0] for members in groups]
    fields = [*dict.fromkeys(key for run in firsts for key in _recipe(run)), *apart]
    texts = {field: _texts([_value(run, field) for run in firsts]) for field in fields}
    telling = {field: values for field, values in texts.items() if len(set(values)) > 1}
    labels = (", ".join(f"{field}={values[i]}" for field, values in telling.items()) for i in range(len(firsts)))
    return [(f"{base} ({label})", members) for label, members in zip(labels, groups, strict=True)]


def _texts(values: Sequence[Any]) -> list[str]:
    legible = _legible({_exact(value): value for value in values})
    return [legible[_exact(value)] for value in values]


def _free(label: str, taken: Mapping[str, Any]) -> str:
    """The label, with a number behind it where another arm is called so already."""
    return next(
        name for name in chain([label], (f"{label} #{n}" for n in range(2, len(taken) + 3))) if name not in taken
    )


def _several(values: Iterable[Any]) -> bool:
    return len({_exact(value) for value in values}) > 1
