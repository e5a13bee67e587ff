"""The runs that a study expects, in `.dispatch/expected_runs.json`, so that `status` can name the missing ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from align_lab.base.files import read_json, write_json
from align_lab.base.run_config import RunConfig
from align_lab.config.study import Study
from align_lab.dispatch.states import is_done
from align_lab.record.layout import StudyLayout


def read(folder: Path) -> dict[str, Any]:
    """`runs`: name -> arm, seed and steps; `left`: the same for runs that are no longer in the sweep file."""
    return read_json(_file(folder)) or {
        "sweep": None,
        "question": "",
        "control": "",
        "claims": [],
        "runs": {},
        "left": {},
    }


def update(folder: Path, study: Study) -> dict[str, Any]:
    """Add a command's runs. A complete sweep file declares all runs: those that it no longer has move to `left`."""
    before = read(folder)
    now = {run.name: _summary(run) for run in study.runs}
    if study.sweep is None or not study.complete:
        runs, left = before["runs"] | now, before["left"]
    else:
        runs, left = now, _unfinished(folder, before["runs"] | before["left"])
    content = {
        "sweep": study.sweep or before["sweep"],
        "question": study.settings.question or before["question"],
        "control": study.settings.control or before.get("control", ""),
        "claims": list(study.settings.claims) or before.get("claims", []),
        "runs": runs,
        "left": {name: run for name, run in left.items() if name not in now},
    }
    _file(folder).parent.mkdir(parents=True, exist_ok=True)
    write_json(_file(folder), content)
    return content


def _unfinished(folder: Path, runs: dict[str, Any]) -> dict[str, Any]:
    return {name: run for name, run in runs.items() if not is_done(folder / name)}


def _summary(run: RunConfig) -> dict[str, Any]:
    return {"arm": run["arm"] or run.choices["algo"], "seed": run["seed"], "steps": run["train"]["steps"]}


def _file(folder: Path) -> Path:
    return StudyLayout(folder).expected_runs
