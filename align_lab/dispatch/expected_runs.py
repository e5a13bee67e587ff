"""Which runs a study is meant to hold: kept in `runs/STUDY/.dispatch/wanted.json`, so that `status` can name what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from align_lab.base.files import read_json, write_json
from align_lab.config.study import Study
from align_lab.dispatch.states import is_done
from align_lab.record.layout import StudyLayout


def read(folder: Path) -> dict[str, Any]:
    return read_json(_file(folder)) or {"sweep": None, "question": "", "runs": {}, "left": {}}


def update(folder: Path, study: Study) -> dict[str, Any]:
    """A sweep file says all that is wanted: what it no longer names has left. Commands without a file add to the study."""
    before = read(folder)
    now = {run.name: _facts(study, run) for run in study.runs}
    earlier = before["runs"] | before["left"]
    if study.sweep is None or not study.complete:
        runs, left = before["runs"] | now, {name: run for name, run in before["left"].items() if name not in now}
    else:
        runs, left = now, {name: run for name, run in earlier.items() if name not in now and not is_done(folder / name)}
    wanted = {
        "sweep": study.sweep or before["sweep"],
        "question": study.settings.question or before["question"],
        "runs": runs,
        "left": left,
    }
    _file(folder).parent.mkdir(parents=True, exist_ok=True)
    write_json(_file(folder), wanted)
    return wanted


def _facts(study: Study, run: Any) -> dict[str, Any]:
    return {"arm": run["arm"] or run.choices["algo"], "seed": run["seed"], "steps": run["train"]["steps"]}


def _file(folder: Path) -> Path:
    return StudyLayout(folder).expected_runs
