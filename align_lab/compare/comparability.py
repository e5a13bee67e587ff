"""May these runs be compared? Settings must be equal, recipes may differ and are listed, budgets are charged. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from align_lab.compare.runs import Run
from align_lab.roles import role

PAIRED = {"seed"}  # differs between the runs of one arm, by design


def differing(runs: Sequence[Run], wanted: str) -> dict[str, dict[str, Any]]:
    """field -> {run name: value}, for the fields of this role that are not equal in all runs."""
    keys = dict.fromkeys(key for run in runs for key in run.fields if role(key) == wanted and key not in PAIRED)
    found = {key: {run.name: run.fields.get(key, "not applicable") for run in runs} for key in keys}
    return {key: values for key, values in found.items() if _several(values.values())}


def unfair(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Settings and hashes that differ: field -> {run name: value}. Empty when the comparison is fair."""
    keys = dict.fromkeys(key for run in runs for key in run.hashes)
    hashes = {key: {run.name: run.hashes[key] for run in runs if run.hashes.get(key) is not None} for key in keys}
    return differing(runs, "setting") | {key: values for key, values in hashes.items() if _several(values.values())}


def arms(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs of one recipe and budget, under the algorithm's name and whatever else tells equal names apart."""
    by_recipe: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        recipe = {key: value for key, value in run.fields.items() if role(key) in ("recipe", "budget")}
        by_recipe[f"{run.algo} {sorted(recipe.items(), key=str)}"].append(run)
    same_name: dict[str, list[list[Run]]] = defaultdict(list)
    for group in by_recipe.values():
        same_name[group[0].algo].append(group)
    return {_label(algo, group, groups): group for algo, groups in same_name.items() for group in groups}


def _label(algo: str, group: Sequence[Run], groups: Sequence[Sequence[Run]]) -> str:
    if len(groups) == 1:
        return algo
    first = [members[0] for members in groups]
    telling = differing(first, "recipe") | differing(first, "budget")
    return f"{algo} ({', '.join(f'{key}={values[group[0].name]}' for key, values in telling.items())})"


def _several(values: Any) -> bool:
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
