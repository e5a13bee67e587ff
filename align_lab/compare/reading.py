"""Run folders -> runs.

What cannot be read is named with the reason, one run at a time; what is large is read at once.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from align_lab.base.errors import ConfigError
from align_lab.base.roles import role
from align_lab.base.shapes import problem
from align_lab.compare import builds, certificate, doubts, evaluations, index
from align_lab.compare.document import SCORE, Label
from align_lab.compare.evaluations import Columns, Floats, Table
from align_lab.compare.runs import Run, Unfinished, deciding
from align_lab.record import layout
from align_lab.record.records import Manifest, Status

INDEX_FROM = 200  # runs that were read anew before the index is written: reading fewer takes less time than writing it
NAME = re.compile(r"(?P<algo>[^-]+)-.*-s(?P<seed>\d+)-[0-9a-f]{8}")
# what a record raises that is not as it should be
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
CUT = "its last row holds no evaluation: metrics.jsonl was cut short"


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
    identity: Mapping[str, Any]  # arm and seed, for the case that its rows are no good
    step: float  # of the end, where the status says it


def read_study(folder: Path) -> tuple[list[Run], list[Unfinished]]:
    """Every run of a study; those that have not finished, or cannot be read, are named with the reason."""
    runs, unfinished = _study(folder)
    if not runs and not unfinished:
        raise ConfigError(f"{folder} holds no runs. Start one: align_lab study={folder.name} algo=rloo")
    return runs, unfinished


def _study(folder: Path) -> tuple[list[Run], list[Unfinished]]:
    """Finished runs and the others, by name.

    Links to runs of other studies are followed; hidden folders are not runs.
    """
    names, gone = _names(folder)
    with index.opened(folder) as runs_of:
        stamps = {name: index.stamp(f"{folder}/{name}") for name in names}
        names = [name for name in names if _is_run(f"{folder}/{name}", stamps[name])]
        known = runs_of(stamps)
    new = [name for name in names if name not in known]
    read, unfinished = _parted(all_of([f"{folder}/{name}" for name in new]))
    by_name = known | {run.name: run for run in read}
    runs = index.aligned([by_name[name] for name in names if name in by_name])
    if len(read) >= INDEX_FROM:
        index.save(folder, runs, stamps)
    return runs, sorted(unfinished + gone, key=lambda run: run.name)


def _parted(every: Sequence[Run | Unfinished]) -> tuple[list[Run], list[Unfinished]]:
    return [run for run in every if isinstance(run, Run)], [run for run in every if isinstance(run, Unfinished)]


def _names(folder: Path) -> tuple[list[str], list[Unfinished]]:
    """Names of folders, sorted, and of links that lead nowhere."""
    with os.scandir(folder) as scan:
        entries = sorted((entry for entry in scan if entry.name[0] != "."), key=lambda entry: entry.name)
    gone = [
        Unfinished(link.name, f"its folder is gone: it is a link to {os.readlink(link.path)}", **_from_name(link.name))
        for link in entries
        if link.is_symlink() and not os.path.exists(link.path)
    ]
    return [entry.name for entry in entries if entry.is_dir()], gone


def _is_run(folder: str, stamp: str) -> bool:
    """A run has a status or a manifest; one that has only just begun has a config."""
    return _is_hidden(folder) or not stamp.startswith(index.NOTHING) or os.path.exists(f"{folder}/{layout.CONFIG}")


def _is_hidden(folder: str) -> bool:
    """Does it belong to a user who lets nobody else read it? It is then named, and not left out in silence."""
    try:
        os.stat(f"{folder}/.")
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def all_of(paths: Sequence[str]) -> list[Run | Unfinished]:
    """Each run folder as a run, or why it is none. All have the same columns."""
    shared = _Shared()
    heads = [_head(path, shared) for path in paths]
    columns = _columns([head for head in heads if isinstance(head, _Head)])
    many = evaluations.of_many([head.path for head in heads if isinstance(head, _Head)], columns)
    return [head if isinstance(head, Unfinished) else _run(head, columns, many) for head in heads]


def _columns(heads: Sequence[_Head]) -> Columns:
    """Those of all judges of these runs."""
    abouts = [head.about for head in heads]
    several = {(id(about["fields"]), id(about["labels"])): about for about in abouts}.values()
    judged = [evaluations.judged(deciding(one["fields"]), one["fields"], one["labels"]) for one in several]
    return evaluations.united([evaluations.columns(names) for names in judged] or [evaluations.columns()])


def _head(path: str, shared: _Shared) -> _Head | Unfinished:
    manifest: dict[str, Any] = {}
    try:
        status = _json(f"{path}/{layout.STATUS}")
        if wrong := problem(status, Status):
            raise ValueError(f"{layout.STATUS}: {wrong}")
        if status["state"] != "done":
            manifest = _json(known) if os.path.exists(known := f"{path}/{layout.MANIFEST}") else {}
            return _ended(path, status, manifest)
        manifest = _json(f"{path}/{layout.MANIFEST}")
        if wrong := problem(manifest, Manifest):
            raise ValueError(f"{layout.MANIFEST}: {wrong}")
        if why := certificate.doubt(path, status, manifest):
            return Unfinished(_name(path), why, "altered", **_identity(path, manifest))
        return _Head(
            path=path,
            identity=_identity(path, manifest),
            about=_about(path, manifest, shared),
            step=float(status.get("step", "nan")),
        )
    except (OSError, *DAMAGED) as damaged:
        return _unreadable(path, damaged, _identity(path, manifest))


def _about(path: str, manifest: Mapping[str, Any], shared: _Shared) -> dict[str, Any]:
    config, machine = manifest["config"], manifest.get("machine") or {}
    labels = manifest.get("metrics") or {}
    return {
        "algo": str(manifest.get("choices", {}).get("algo") or config["algo.name"]),
        "seed": int(manifest["seed"] if "seed" in manifest else config["seed"]),
        "arm": str(config.get("arm") or ""),
        "fields": shared({key: value for key, value in config.items() if _is_compared(key)}),
        "hashes": shared({**manifest.get("hashes", {})}),
        "labels": shared({name: _label(texts) for name, texts in labels.items()}),
        "spent": _numbers(manifest.get("spent", {})),
        "machine": str(machine.get("gpu") or machine.get("cpu") or ""),
        "stages": builds.seeded(manifest.get("artefacts") or {}),
        "code": _commit(manifest.get("code") or {}),
        "place": path,
    }


def _commit(code: Mapping[str, Any]) -> str:
    """`e02a6227a7`, with + where the code had changes that no commit holds."""
    commit = str(code.get("commit") or "")
    return f"{commit[:10]}{'+' if code.get('dirty_diff') else ''}" if commit else ""


def _numbers(spent: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in spent.items() if isinstance(value, int | float)}


def _is_compared(key: str) -> bool:
    """Is a field of the config more than where a run is filed, and with which seed?"""
    return key != "seed" and role(key) != "none"


def _label(texts: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(texts[key]) for key in (*Label.__annotations__, doubts.KEY) if texts.get(key) is not None}


def _run(head: _Head, columns: Columns, many: Mapping[str, Floats]) -> Run | Unfinished:
    path = head.path
    try:
        values, step = (many[path], head.step) if path in many else evaluations.of_one(Path(path), columns)
    except (OSError, *DAMAGED) as damaged:
        return _unreadable(path, damaged, head.identity)
    rows = Table(columns, values)
    last = rows["step"][-1] if len(rows) else float("nan")
    if not len(rows) or any(not isnan(end) and last != end for end in (step, head.step)):
        return Unfinished(_name(path), CUT, **head.identity)
    run = Run(name=_name(path), rows=rows, **head.about)
    return _without_score(run, head.identity) or run


def _without_score(run: Run, identity: Mapping[str, Any]) -> Unfinished | None:
    """Why the scores of the last evaluation do not count; None where they do.

    The optimized score may be missing where the reward had none for any completion, the one that decides may not.
    """
    for metric in dict.fromkeys((run.metric, SCORE)):
        last, shares = run.rows[metric][-1], _unscored(run, metric)
        if isfinite(last) or (shares and metric != run.metric):
            continue
        label = run.labels.get(metric, {}).get("label") or metric.rsplit("/", 1)[-1].replace("_", " ")
        if shares:
            return Unfinished(run.name, f"its last evaluation has no {label}: {shares}", "unscored", **identity)
        return Unfinished(run.name, f"the {label} of its last evaluation is {last}", "diverged", **identity)
    return None


def _unscored(run: Run, metric: str) -> str:
    """`60 % of the completions got no opinion and 40 % could not be scored`; empty where all were scored."""
    what = {"abstained": "got no opinion", "failed": "could not be scored"}
    shares = {words: run.rows[f"{metric}_{name}"][-1] for name, words in what.items()}
    texts = [f"{100 * share:.3g} % {words}" for words, share in shares.items() if share > 0]
    return " and ".join(texts).replace("%", "% of the completions", 1)


def _ended(path: str, status: Mapping[str, Any], manifest: Mapping[str, Any]) -> Unfinished:
    error = str(status.get("error") or "")
    state = "diverged" if error.startswith("DivergedError") else str(status["state"])
    why = f"{status['state']} at step {status.get('step', 0)}" + (f": {error}" if error else "")
    return Unfinished(_name(path), why, state, **_identity(path, manifest))


def _unreadable(path: str, damaged: Exception, identity: Mapping[str, Any]) -> Unfinished:
    if isinstance(damaged, FileNotFoundError):
        why = f"{Path(damaged.filename).name} is missing"
    else:
        why = f"its record cannot be read ({type(damaged).__name__}: {damaged})"
    return Unfinished(_name(path), why, **identity)


def _identity(path: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Arm and seed of a run that does not count: from its name, or better from what there is of its manifest."""
    identity = _from_name(_name(path))
    with suppress(KeyError, TypeError, AttributeError):
        identity["seed"] = manifest["seed"]
        identity["arm"] = manifest["choices"]["algo"]
        identity["arm"] = manifest["config"]["arm"] or identity["arm"]
    return identity


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
