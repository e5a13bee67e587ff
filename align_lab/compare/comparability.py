"""May these runs be compared? Settings must be equal, recipes may differ and are listed, budgets are charged. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

from align_lab.base.roles import role
from align_lab.compare.runs import Run
from align_lab.compare.values import plain

PAIRED = {"seed"}  # differs between the runs of one arm, by design
CODE = ("source", "torch")  # allowed to differ, they make no other arms: whoever allows it says that it does not matter
CHARGED = ("episodes", "tokens", "labels", "device_seconds", "flops", "peak_memory_gib")
NOT_RECORDED = "not recorded"
NOT_APPLICABLE = "not applicable"

role_of = cache(role)


def differing(runs: Sequence[Run], wanted: str) -> dict[str, dict[str, Any]]:
    """field -> {run name: value}, for the fields of this role that are not equal in all runs."""
    keys = dict.fromkeys(key for run in runs for key in run.fields if role_of(key) == wanted and key not in PAIRED)
    found = {key: {run.name: run.fields.get(key, NOT_APPLICABLE) for run in runs} for key in keys}
    return {key: values for key, values in found.items() if _several(values.values())}


def unfair(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """Settings and hashes that differ: field -> {run name: value}. Empty when the comparison is fair."""
    return {
        field: {name: value for value, names in values.items() for name in names}
        for field, values in settings(runs).items()
        if len(values) > 1
    }


def settings(runs: Sequence[Run]) -> dict[str, dict[str, list[str]]]:
    """Every setting and every hash: field -> {value as text: names of the runs that have it, where there are several values}.

    What a run does not hold, because another version wrote it, is a value of its own: nothing is proven about it.
    """
    fields = _values([(run.name, run.fields) for run in runs], lambda key: role_of(key) == "setting")
    return fields | _values([(run.name, run.hashes) for run in runs], lambda key: True)


def _values(
    held: Sequence[tuple[str, Mapping[str, Any]]], wanted: Callable[[str], bool]
) -> dict[str, dict[str, list[str]]]:
    """Runs that share one mapping are looked at once."""
    alike: dict[int, tuple[Mapping[str, Any], list[str]]] = {}
    for name, values in held:
        alike.setdefault(id(values), (values, []))[1].append(name)
    keys = dict.fromkeys(key for values, _ in alike.values() for key in values if wanted(key) and key not in PAIRED)
    found: dict[str, dict[str, list[str]]] = {}
    for key in keys:
        by_value: dict[str, list[list[str]]] = defaultdict(list)
        for values, names in alike.values():
            by_value[str(values.get(key, NOT_RECORDED))].append(names)
        several = len(by_value) > 1
        found[key] = {value: sorted(chain(*names)) if several else [] for value, names in by_value.items()}
    return found


def is_allowed(field: str, allow: Sequence[str]) -> bool:
    """By its name, or by the name of the group that it lies in."""
    return any(field == name or field.startswith(f"{name}.") for name in allow)


def proof(groups: Mapping[str, Sequence[Run]], allow: Sequence[str]) -> dict[str, Any]:
    """`comparability` of the comparison document: what is equal, what differs, what each arm's recipe is and cost."""
    runs = [run for members in groups.values() for run in members]
    found = settings(runs)
    differ = [
        {"field": field, "values": values, "allowed": is_allowed(field, allow)}
        for field, values in found.items()
        if len(values) > 1
    ]
    return {
        "fair": bool(runs) and all(one["allowed"] for one in differ),
        "equal": [{"field": field, "value": next(iter(values))} for field, values in found.items() if len(values) == 1],
        "differing": differ,
        "recipes": _by_arm(groups, "recipe"),
        "budgets": _by_arm(groups, "budget"),
        "charged": [{"arm": arm, **_charged(members)} for arm, members in groups.items()],
    }


def _by_arm(groups: Mapping[str, Sequence[Run]], wanted: str) -> list[dict[str, Any]]:
    """The runs of an arm have one recipe, so that its first run speaks for all."""
    firsts = {arm: members[0] for arm, members in groups.items()}
    names = {run.name: arm for arm, run in firsts.items()}
    return [
        {"field": field, "values": {names[name]: plain(value) for name, value in values.items()}}
        for field, values in differing(list(firsts.values()), wanted).items()
    ]


def _charged(members: Sequence[Run]) -> dict[str, float | None]:
    """What a run of this arm has spent, in the mean."""
    spent = {name: [run.spent[name] for run in members if run.spent.get(name) is not None] for name in CHARGED}
    return {name: sum(values) / len(values) if values else None for name, values in spent.items()}


def arms(runs: Sequence[Run], allow: Sequence[str] = ()) -> dict[str, list[Run]]:
    """Runs of one recipe and budget, under the arm's or the algorithm's name and whatever else tells equal names apart.

    Settings that are allowed to differ make arms of their own, except for code.
    """
    apart = [
        field
        for field, values in settings(runs).items()
        if len(values) > 1 and is_allowed(field, allow) and field not in CODE
    ]
    recipes: dict[int, str] = {}
    same_name: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if id(run.fields) not in recipes:
            recipes[id(run.fields)] = str(sorted((k, str(v)) for k, v in run.fields.items() if _tells(k)))
        key = f"{recipes[id(run.fields)]} {[_held(run, field) for field in apart]}"
        same_name[run.base][key].append(run)
    return {
        label: sorted(members, key=lambda run: run.seed)
        for base, groups in sorted(same_name.items())
        for label, members in _labelled(base, list(groups.values()), apart)
    }


def _tells(key: str) -> bool:
    return role_of(key) in ("recipe", "budget")


def _held(run: Run, field: str) -> Any:
    return run.fields.get(field, run.hashes.get(field, NOT_RECORDED))


def _labelled(base: str, groups: Sequence[list[Run]], apart: Sequence[str]) -> Iterable[tuple[str, list[Run]]]:
    """Each group under the name they share, with the fields that tell it from the others."""
    if len(groups) == 1:
        return [(base, groups[0])]
    firsts = [members[0] for members in groups]
    fields = [*dict.fromkeys(key for run in firsts for key in run.fields if _tells(key)), *apart]
    telling = [field for field in fields if _several(_held(run, field) for run in firsts)]
    return [
        (f"{base} ({', '.join(f'{field}={_held(run, field)}' for field in telling)})", members)
        for run, members in zip(firsts, groups, strict=True)
    ]


def _several(values: Iterable[Any]) -> bool:
    return len({str(value) for value in values}) > 1


def explain(found: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a field: each value, with a run that has it."""
    lines = []
    for field, values in found.items():
        by_value: dict[str, list[str]] = defaultdict(list)
        for name, value in values.items():
            by_value[str(value)].append(name)
        shown = "; ".join(
            f"{value} in {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}"
            for value, names in by_value.items()
        )
        lines.append(f"  {field}: {shown}")
    return "\n".join(lines)
