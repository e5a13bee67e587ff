"""A run as a board shows it: name, group, config, link to its stages, tables, summary. All of it is read from the run's
folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from align_lab.base.errors import DataError
from align_lab.base.files import read_json
from align_lab.base.metrics import is_evaluation
from align_lab.base.paths import cache_folder
from align_lab.record.layout import RunLayout

BEFORE, BEHIND = ("index", "prompt", "completion", "score"), ("kl", "length", "ended")  # the judges' columns
OTHERS = {  # columns of a sample that are not shown
    *("step", "sample", "set", "entropy_sum", "win"),
    *("failures", "parts", "answers", "correct"),
}
TABLES = 40  # of completions in one run, at most about so many
LETTERS = 2000  # of one cell of a table


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One entry of a board: a run, or a stage that runs started from."""

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    notes: str = ""
    steps: int = 0
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CompletionTable:
    """A table of completions."""

    columns: list[str]
    rows: list[list[Any]]


def run(folder: Path) -> Shown:
    """Raises DataError for a folder whose training has not begun: its manifest says what it is made of."""
    from align_lab.record.folder import read_config  # here: who only scans for components needs no OmegaConf

    manifest = read_json(RunLayout(folder).manifest)
    if not manifest:
        raise DataError(f"{folder} has not begun to train: it has no manifest.json")
    values, choices = read_config(folder), manifest["choices"]
    study, arm = folder.resolve().parent.name, values.get("arm") or choices["algo"]
    flat = {name: choices[name] for name in ("algo", "model", "reward", "data")}
    return Shown(
        id=f"{folder.name}-{_digest(study, folder.name, manifest['hashes'])}",
        name=folder.name,
        group=f"{study}/{arm}",
        job_type="train",
        tags=(study, *dict.fromkeys([flat["algo"], arm, flat["model"], flat["reward"]])),
        config={
            **flat,
            "seed": manifest["seed"],
            "study": study,
            "arm": arm,
            "signature": manifest["signature"],
            "stages": manifest["artefacts"],
            "run": _fields(values),
            **{key: manifest.get(key) for key in ("hashes", "code", "versions", "machine")},
        },
        notes="Started from the stages " + ", ".join(manifest["artefacts"].values()),
        steps=values["train"]["steps"],
    )


def stages(folder: Path) -> list[Shown]:
    """What a run started from, as entries of their own; those that were removed from the cache are left out."""
    names = read_json(RunLayout(folder).manifest).get("artefacts", {}).values()
    return [stage(path) for name in names if (path := cache_folder() / "artefacts" / name).is_dir()]


def stage(folder: Path) -> Shown:
    """An artefact: its settings, what it was made of (ids of other stages), how long it took, what it measured."""
    card, measured = read_json(folder / "artefact.json"), read_json(folder / "metrics.json")
    config = {key: card[key] for key in ("kind", "key", "settings", "inputs", "content")}
    made_of = ", ".join(card["inputs"])
    return Shown(
        id=folder.name,
        name=folder.name,
        group="stages",
        job_type="stage",
        tags=("stage", card["kind"]),
        config=config,
        notes=f"Made from the stages {made_of}" if made_of else "",
        summary={"seconds": card["seconds"], **measured},
    )


def summary(rows: Sequence[Mapping[str, Any]], best_step: int | None, state: str) -> dict[str, Any]:
    """The run in a line: evaluation of the last step and of the best one."""
    judged = [row for row in rows if is_evaluation(row)]
    picked = {
        "final": judged[-1] if judged else {},
        "best": next((row for row in judged if row["step"] == best_step), {}),
    }
    numbers = {
        f"{which}/{key}": value
        for which, row in picked.items()
        for key, value in row.items()
        if key in ("step", "episode") or key.startswith("eval/")
    }
    return {**numbers, "state": state}


def tabled(step: int, before: int | None, steps: int) -> bool:
    """Is the evaluation of `step` shown as a table? The first, the last, and about TABLES on the way (`before`: the one
    before).
    """
    span = max(1, steps // TABLES)
    return before is None or step >= steps or step // span > before // span


def table(samples: Iterable[Mapping[str, Any]], limit: int) -> CompletionTable:
    """The first `limit` completions of an evaluation, with a column for each judge."""
    rows = list(samples)[:limit]
    judges = dict.fromkeys(key for row in rows for key in row if key not in {*BEFORE, *BEHIND, *OTHERS})
    columns = [*BEFORE, *judges, *BEHIND]
    return CompletionTable(columns, [[_cell(row.get(column)) for column in columns] for row in rows])


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config, without what stands beside it already, and without a cluster's accounts and shell lines."""
    fields = {key: value for key, value in values.items() if key not in ("study", "arm", "seed")}
    hardware = {key: value for key, value in values["hardware"].items() if key != "placement"}
    return {**fields, "hardware": hardware}


def _cell(value: Any) -> Any:
    return value[:LETTERS] if isinstance(value, str) else value


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]
