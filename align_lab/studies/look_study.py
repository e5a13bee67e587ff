"""A study as the job that goes on with it receives it: plain values, from the command that started it.

The job thus needs neither the command line nor the sweep file, which may have been edited since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from align_lab.base.hyperparameters import Budget
from align_lab.base.run_config import RunConfig
from align_lab.base.seed_plan import SeedPlan
from align_lab.base.tuning_plan import TuningPlan
from align_lab.config import schema
from align_lab.config.composition import Composer
from align_lab.config.root import StudySettings
from align_lab.config.study import Study

PROGRAM = "align_lab.studies.look_job"


def described(study: Study, arms: Mapping[str, Sequence[RunConfig]], plan: SeedPlan) -> dict[str, Any]:
    """Each arm once, and of its further runs what differs: the seed, and what it varies."""
    return {
        "study": study.name,
        "sweep": study.sweep,
        "question": study.settings.question,
        "control": study.settings.control,
        "metric": study.settings.metric,
        "smallest": study.settings.smallest,
        "contrasts": study.settings.contrasts,
        "paired": study.settings.paired,
        "plan": asdict(plan),
        "arms": {arm: _arm(runs) for arm, runs in arms.items()},
    }


def _arm(runs: Sequence[RunConfig]) -> dict[str, Any]:
    first = runs[0].values
    changes = [{key: value for key, value in run.values.items() if value != first.get(key)} for run in runs]
    return {"values": dict(first), "choices": dict(runs[0].choices), "changes": changes}


def described_tuning(study: Study) -> dict[str, Any]:
    """A study that is still being tuned: the overrides of its runs, from which each recipe is composed anew."""
    return {
        "study": study.name,
        "sweep": study.sweep,
        "settings": asdict(replace(study.settings, wait=False)),
        "complete": study.complete,
        "jobs": study.jobs,
        "tuning": asdict(study.tuning) if study.tuning else None,
        "plan": asdict(study.seed_plan) if study.seed_plan else None,
    }


def study_of(about: Mapping[str, Any]) -> Study:
    """What `described` or `described_tuning` wrote down. Call it after `registry.scan`."""
    return _tuned(about) if "tuning" in about else _in_steps(about)


def _tuned(about: Mapping[str, Any]) -> Study:
    jobs = tuple(map(tuple, about["jobs"]))
    schema.publish()
    settings = {**about["settings"], "budget": Budget(**about["settings"]["budget"])}
    return Study(
        name=about["study"],
        sweep=about["sweep"],
        settings=StudySettings(**settings),
        runs=tuple(Composer().runs(jobs)),
        complete=about["complete"],
        tuning=TuningPlan(**about["tuning"]),
        seed_plan=SeedPlan(**about["plan"]) if about["plan"] else None,
        jobs=jobs,
    )


def _in_steps(about: Mapping[str, Any]) -> Study:
    plan = SeedPlan(**about["plan"])
    return Study(
        name=about["study"],
        sweep=about["sweep"],
        settings=StudySettings(
            question=about["question"],
            control=about["control"],
            metric=about.get("metric", ""),
            smallest=about.get("smallest"),
            contrasts=about.get("contrasts"),
            paired=about.get("paired"),
            wait=False,
        ),
        runs=tuple(
            RunConfig({**arm["values"], **changes}, arm["choices"])
            for arm in about["arms"].values()
            for changes in arm["changes"]
        ),
        complete=False,
        seed_plan=plan,
    )
