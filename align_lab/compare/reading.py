"""Run folders -> runs. What cannot be read is named with the reason, one run at a time; what is large is read at once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from align_lab.base.roles import role
from align_lab.compare import evaluations, index
from align_lab.compare.evaluations import COLUMN, GOLD, Floats
from align_lab.compare.runs import Run, Unfinished

INDEX_FROM = 200  # runs that were read anew before the index is written: reading fewer takes less time than writing it
NAME = re.compile(r"(?P<algo>[^-]+)-.*-s(?P<seed>\d+)-[0-9a-f]{8}")
DAMAGED = (ValueError, KeyError, TypeError, AttributeError)  # what a record raises that is not as it should be
CUT = "its last row holds no evaluation: metrics.jsonl was cut short"

role_of = cache(role)


@dataclass
class _Shared:
    """Mappings that many runs have in common, kept once."""

    known: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def __call__(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.known.setdefault(repr(values), values)


@dataclass(frozen=True, kw_only=True)
class _Head:
    """A finished run's manifest, before its rows."""

    path: str
    about: Mapping[str, Any]  # fields of Run
    said: Mapping[str, Any]  # arm and seed, for the case that its rows are no good
    step: float  # of the end, where the status says it


def study(folder: Path) -> tuple[list[Run], list[Unfinished]]:
    """Finished runs and the others, by name. Links to runs of other studies are followed; hidden folders are not runs."""
    names, gone = _names(folder)
    with index.opened(folder) as runs_of:
        stamps = {name: index.stamp(f"{folder}/{name}") for name in names}
        names = [name for name in names if not stamps[name].startswith(index.NOTHING) or _has_config(folder / name)]
        known = runs_of(stamps)
    fresh = [name for name in names if name not in known]
    found = known | dict(zip(fresh, all_of([f"{folder}/{name}" for name in fresh]), strict=True))
    runs = [run for name in names if isinstance(run := found[name], Run)]
    if sum(isinstance(found[name], Run) for name in fresh) >= INDEX_FROM:
        index.save(folder, runs, stamps)
    others = [run for run in found.values() if isinstance(run, Unfinished)] + gone
    return runs, sorted(others, key=lambda run: run.name)


def _names(folder: Path) -> tuple[list[str], list[Unfinished]]:
    """Names of folders, sorted, and of links that lead nowhere."""
    with os.scandir(folder) as entries:
        seen = sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
    gone = [
        Unfinished(link.name, f"its folder is gone: it is a link to {os.readlink(link.path)}", **_from_name(link.name))
        for link in seen
        if link.is_symlink() and not os.path.exists(link.path)
    ]
    return [entry.name for entry in seen if entry.is_dir()], gone


def _has_config(folder: Path) -> bool:
    return (folder / "config.yaml").exists()


def all_of(paths: Sequence[str]) -> list[Run | Unfinished]:
    """Each run folder as a run, or why it is none."""
    shared = _Shared()
    heads = [_head(path, shared) for path in paths]
    many = evaluations.of_many([head.path for head in heads if isinstance(head, _Head)])
    return [head if isinstance(head, Unfinished) else _run(head, many) for head in heads]


def _head(path: str, shared: _Shared) -> _Head | Unfinished:
    manifest: dict[str, Any] = {}
    try:
        status = _json(f"{path}/status.json")
        if status["state"] != "done":
            manifest = _json(f"{path}/manifest.json") if os.path.exists(f"{path}/manifest.json") else {}
            return _ended(path, status, manifest)
        manifest = _json(f"{path}/manifest.json")
        return _Head(
            path=path,
            said=_who(path, manifest),
            about=_about(path, manifest, shared),
            step=float(status.get("step", "nan")),
        )
    except (OSError, *DAMAGED) as damaged:
        return _unreadable(path, damaged, _who(path, manifest))


def _about(path: str, manifest: Mapping[str, Any], shared: _Shared) -> dict[str, Any]:
    config, machine = manifest["config"], manifest.get("machine") or {}
    return {
        "algo": str(manifest.get("choices", {}).get("algo") or config["algo.name"]),
        "seed": int(manifest["seed"] if "seed" in manifest else config["seed"]),
        "arm": str(config.get("arm") or ""),
        "fields": shared({key: value for key, value in config.items() if key != "seed" and role_of(key) != "none"}),
        "hashes": shared({**manifest.get("hashes", {})}),
        "spent": {name: value for name, value in manifest.get("spent", {}).items() if isinstance(value, int | float)},
        "machine": str(machine.get("gpu") or machine.get("cpu") or ""),
        "place": path,
    }


def _run(head: _Head, many: Mapping[str, Floats]) -> Run | Unfinished:
    path = head.path
    try:
        rows, step = (many[path], head.step) if path in many else evaluations.of_one(Path(path))
    except (OSError, *DAMAGED) as damaged:
        return _unreadable(path, damaged, head.said)
    last = rows[-1, COLUMN["step"]] if len(rows) else float("nan")
    if not len(rows) or any(not isnan(end) and last != end for end in (step, head.step)):
        return Unfinished(_name(path), CUT, **head.said)
    if not isfinite(gold := rows[-1, COLUMN[GOLD]]):
        return Unfinished(_name(path), f"the gold score of its last evaluation is {gold}", "diverged", **head.said)
    return Run(name=_name(path), rows=rows, **head.about)


def _ended(path: str, status: Mapping[str, Any], manifest: Mapping[str, Any]) -> Unfinished:
    error = str(status.get("error") or "")
    state = "diverged" if error.startswith("DivergedError") else str(status["state"])
    why = f"{status['state']} at step {status.get('step', 0)}" + (f": {error}" if error else "")
    return Unfinished(_name(path), why, state, **_who(path, manifest))


def _unreadable(path: str, damaged: Exception, said: Mapping[str, Any]) -> Unfinished:
    if isinstance(damaged, FileNotFoundError):
        why = f"{Path(damaged.filename).name} is missing"
    else:
        why = f"its record cannot be read ({type(damaged).__name__}: {damaged})"
    return Unfinished(_name(path), why, **said)


def _who(path: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Arm and seed of a run that does not count: from its name, or better from what there is of its manifest."""
    found = _from_name(_name(path))
    with suppress(KeyError, TypeError, AttributeError):
        found["seed"] = manifest["seed"]
        found["arm"] = manifest["choices"]["algo"]
        found["arm"] = manifest["config"]["arm"] or found["arm"]
    return found


def _from_name(name: str) -> dict[str, Any]:
    match = NAME.fullmatch(name)
    return {"arm": match["algo"] if match else "", "seed": int(match["seed"]) if match else None}


def _name(path: str) -> str:
    return os.path.basename(os.path.normpath(path))


def _json(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        values = json.loads(file.read())
    if not isinstance(values, dict):
        raise ValueError(f"{_name(path)} holds no fields")
    return values
