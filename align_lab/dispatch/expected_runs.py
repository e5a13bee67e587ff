"""A command writes down which runs its study expects (`record/expected.py`), so that `status` can name missing ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align_lab.base import contrast, vary
from align_lab.base.design import Design
from align_lab.base.errors import ConfigError
from align_lab.base.files import write_json
from align_lab.base.run_config import RunConfig
from align_lab.config.study import Study
from align_lab.dispatch import told_apart
from align_lab.dispatch.states import is_done
from align_lab.record.expected import read
from align_lab.record.layout import StudyLayout


def refuse_other_seeds(folder: Path, study: Study) -> None:
    """Raises ConfigError where the study was begun with seeds that move something else, because a seed is one and the
    same, or that are paired where they were not, because that is decided before results are seen.
    """
    known = read(folder)
    _refuse_other_vary(folder, known, study)
    paired, now = known["paired"], study.settings.paired
    if None not in (paired, now) and paired != now:
        raise ConfigError(
            f"the study {folder.name} was begun with paired: {str(paired).lower()}, and now it is {str(now).lower()}: "
            "how seeds are compared is declared before results are seen. Type "
            f"paired={str(paired).lower()}, or give the new study a name of its own: study=NAME"
        )


def _refuse_other_vary(folder: Path, known: Mapping[str, Any], study: Study) -> None:
    before = {tuple(run.get("vary") or vary.USUAL) for run in known["runs"].values()}
    now = {vary.of(run.values) for run in study.runs}
    if before and (new := sorted(now - before)):
        began, asked = (" and ".join(f"[{', '.join(names)}]" for names in sorted(lists)) for lists in (before, new))
        raise ConfigError(
            f"the study {folder.name} was begun with vary: {began}, and now it is {asked}: a seed of the runs that "
            f"exist does not move what a seed of the new ones does. Type vary={began.replace(' ', '')}, or give the "
            "new study a name of its own: study=NAME"
        )


def update(folder: Path, study: Study) -> dict[str, Any]:
    """Add a command's runs. A complete sweep file declares all runs: those that it no longer has move to `left`."""
    before = read(folder)
    apart = told_apart.of_study(study.runs, _arm)
    now = {run.name: _summary(run, apart.get(run.name, {})) for run in study.runs}
    if study.sweep is None or not study.complete:
        runs, left = before["runs"] | now, before["left"]
    else:
        runs, left = now, _unfinished(folder, before["runs"] | before["left"])
    content = {
        "sweep": study.sweep or before["sweep"],
        "question": study.settings.question or before["question"],
        "control": study.settings.control or before.get("control", ""),
        "claims": list(study.settings.claims) or before.get("claims", []),
        "metric": study.settings.metric or before.get("metric", ""),
        "smallest": before.get("smallest") if study.settings.smallest is None else study.settings.smallest,
        "contrasts": [list(pair) for pair in contrast.read(study.settings.contrasts)] or before.get("contrasts", []),
        **(_design(study.design) if study.design else {key: before.get(key, {}) for key in ("factors", "cells")}),
        "paired": before["paired"] if study.settings.paired is None else study.settings.paired,
        "runs": runs,
        "left": {name: run for name, run in left.items() if name not in now},
    }
    file = StudyLayout(folder).expected_runs
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, content)
    return content


def _design(design: Design) -> dict[str, Any]:
    return {
        "factors": {factor: list(levels) for factor, levels in design.levels.items()},
        "cells": {arm: list(levels) for arm, levels in design.cells.items()},
    }


def _unfinished(folder: Path, runs: dict[str, Any]) -> dict[str, Any]:
    return {name: run for name, run in runs.items() if not is_done(folder / name)}


def _arm(run: RunConfig) -> str:
    return run["arm"] or run.choices["algo"]


def _summary(run: RunConfig, apart: Mapping[str, Any]) -> dict[str, Any]:
    about = {"arm": _arm(run), "seed": run["seed"], "steps": run.train.planned_steps, "vary": vary.of(run.values)}
    return about | ({"apart": dict(apart)} if apart else {})
