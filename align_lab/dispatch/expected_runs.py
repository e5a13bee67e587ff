"""The runs that a study expects, in `.dispatch/expected_runs.json`, so that `status` can name the missing ones."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from align_lab.base import contrast, shapes, vary
from align_lab.base.errors import ConfigError
from align_lab.base.files import write_json
from align_lab.base.run_config import RunConfig
from align_lab.config.study import Study
from align_lab.dispatch import told_apart
from align_lab.dispatch.states import is_done
from align_lab.record.layout import StudyLayout


class _Run(TypedDict):
    """A run that is expected."""

    arm: NotRequired[str]
    seed: NotRequired[int]
    steps: NotRequired[int]
    vary: NotRequired[list[str]]
    apart: NotRequired[dict[str, Any]]  # fields that tell it from runs of the same arm and seed


class _Expected(TypedDict):
    """What the file holds."""

    sweep: str | None
    question: str
    control: NotRequired[str]
    claims: NotRequired[list[str]]
    metric: NotRequired[str]
    smallest: NotRequired[float | None]
    contrasts: NotRequired[list[list[str]]]
    runs: dict[str, _Run]
    left: dict[str, _Run]


def read(folder: Path) -> dict[str, Any]:
    """`runs`: name -> arm, seed and steps; `left`: the same for runs that are no longer in the sweep file.

    Raises DataError for a file that is damaged.
    """
    file = _file(folder)
    with suppress(FileNotFoundError):
        return dict(shapes.read(file, _Expected, instead=f"Remove it; the study's command writes it again: rm {file}"))
    return {
        "sweep": None,
        "question": "",
        "control": "",
        "claims": [],
        "metric": "",
        "smallest": None,
        "contrasts": [],
        "runs": {},
        "left": {},
    }


def refuse_other_vary(folder: Path, study: Study) -> None:
    """Raises ConfigError where the study was begun with seeds that move something else: a seed is one and the same."""
    before = {tuple(run.get("vary") or vary.USUAL) for run in read(folder)["runs"].values()}
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
        "runs": runs,
        "left": {name: run for name, run in left.items() if name not in now},
    }
    _file(folder).parent.mkdir(parents=True, exist_ok=True)
    write_json(_file(folder), content)
    return content


def _unfinished(folder: Path, runs: dict[str, Any]) -> dict[str, Any]:
    return {name: run for name, run in runs.items() if not is_done(folder / name)}


def _arm(run: RunConfig) -> str:
    return run["arm"] or run.choices["algo"]


def _summary(run: RunConfig, apart: Mapping[str, Any]) -> dict[str, Any]:
    about = {"arm": _arm(run), "seed": run["seed"], "steps": run.train.planned_steps, "vary": vary.of(run.values)}
    return about | ({"apart": dict(apart)} if apart else {})


def _file(folder: Path) -> Path:
    return StudyLayout(folder).expected_runs
