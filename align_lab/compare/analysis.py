"""A study's runs -> one plain document: are they comparable, which arm is better, how sure is that, and what else
shows.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from align_lab.base.errors import ConfigError, near
from align_lab.compare import (
    audit,
    axes,
    claims,
    curves,
    document,
    evaluated_again,
    labels,
    notes,
    overoptimization,
    pool,
    samples,
    summary,
    verdict,
    wins,
)
from align_lab.compare.answers import Answers
from align_lab.compare.comparability import arms as arms_of
from align_lab.compare.comparability import proof
from align_lab.compare.document import SCORE, Comparability, Document, Label, Missing, TuningDocument
from align_lab.compare.evaluations import Table
from align_lab.compare.overoptimization import Scores
from align_lab.compare.pool import StudyRuns
from align_lab.compare.runs import Run, Unfinished
from align_lab.compare.sequential import plan_file
from align_lab.compare.sequential import verdict as sequential
from align_lab.compare.summary import ArmRuns
from align_lab.compare.tuning import record as tuning_record
from align_lab.compare.tuning import summary as tuning_summary
from align_lab.compare.values import listed, uncollected

if TYPE_CHECKING:
    from align_lab.compare.foreign.reader import ForeignRuns

SHOWN = 24  # arms that are compared pair by pair and drawn: the best ones
NOTHING = "No run has finished yet: nothing to compare."
Groups = Mapping[str, Sequence[Run]]


@dataclass(frozen=True, kw_only=True)
class _Material:
    """What a document is made of: the arms that are drawn with their evaluations and answers, and how all is called."""

    arms: Sequence[ArmRuns]
    rows: Mapping[str, Table]
    answers: Mapping[str, Mapping[int, Answers]]
    scores: Scores

    @property
    def few(self) -> dict[str, Sequence[Run]]:
        """The runs that are drawn one by one."""
        return curves.few({arm.name: arm.runs for arm in self.arms}, self.scores.metric)


@uncollected
def analyze(
    folders: Sequence[Path],
    *,
    allow: Sequence[str] = (),
    paired: bool = False,
    control: str = "",
    rng_seed: int = 0,
    foreign: ForeignRuns | None = None,
) -> Document:
    """The comparison document of the studies in these folders, together.

    First it is proven, over every run that was read, that all settings are equal; only then runs of an arm that share a
    seed are set aside, and arms are compared. `allow`: settings (or groups of them) that may differ; runs with other
    values of one are arms of their own. Where a setting differs that may not, `comparability.fair` is False and nothing
    is compared: each arm is described by itself. `foreign`: runs of other programs, which have a verdict of their own;
    with them, `folders` may be empty. `control`: the arm that all others are compared with, instead of every pair with
    each other; by default the one that the studies name. The same record and `rng_seed` give the same document, apart
    from `written`. Raises ConfigError for a folder without runs.
    """
    study = pool.read(folders)
    written = plan_file.read(folders[0]) if len(folders) == 1 else None
    if written:
        sequential.refuse(written, paired=paired, control=control)
    metric = _metric(study.runs)
    groups, duplicates = _once(arms_of(study.runs, allow))
    control = _control(control, study, groups)
    arms = _shown_first(summary.ranked(groups, metric), control)
    comparability = proof(study.runs, {arm.name: arm.runs for arm in arms}, allow)
    names = _labels(study.runs, metric)
    material = _material(arms[:SHOWN], Scores(metric, names))
    whole = _described(study, arms, material, comparability, rng_seed)
    looks = sequential.looks_of(written, [run for runs in groups.values() for run in runs]) if written else None
    if comparability["fair"]:
        if written and looks:
            decided = sequential.decided(written, looks, groups)
        else:
            pairs = len(verdict.pairs_of([arm.name for arm in arms], control))
            decided = summary.decided(material.arms, pairs=pairs, paired=paired, control=control)
        _compare(whole, material, rng_seed, verdict=decided)
        whole["claims"] = claims.decided(study.claims, groups, metric)
    else:
        whole["verdict"] = _refusal(comparability)
    _leave_out(whole, study, groups, duplicates)
    if looks:
        whole["missing"] = [{"arm": arm, "seeds": list(seeds)} for arm, seeds in looks.missing.items()]
    whole["notes"] = [
        *notes.about_runs(arms, comparability, names[metric]["label"], study.left),
        *notes.about_results(whole),
        *notes.about_samples(material.arms, material.answers),
        *_bounded(arms, metric),
        *(sequential.notes(written, looks, groups) if written and looks else ()),
        *([sequential.TOGETHER] if len(folders) > 1 and any(map(plan_file.read, folders)) else []),
    ]
    if len(folders) == 1 and (tuning := tuning_record.read(folders[0])):
        _add_tuning(whole, tuning_summary.summary(tuning, groups))
    if foreign:
        _put_beside(whole, foreign, arms if comparability["fair"] else [], rng_seed)
    return whole


def _add_tuning(whole: Document, tuning: TuningDocument | None) -> None:
    """A leader that changes with the number of trials is said in the first sentence."""
    whole["tuning"] = tuning
    if tuning and tuning["sentence"] and whole["verdict"]["pairs"]:
        whole["verdict"]["sentence"] = f"{tuning['sentence']} {whole['verdict']['sentence']}"


def _control(control: str, study: StudyRuns, arms: Collection[str]) -> str:
    """The arm that all others are compared with: the one that was asked for, else the one that all studies name.

    Raises ConfigError for a name that no arm has.
    """
    if control and control not in arms:
        raise ConfigError(f"--control={control}: there is no such arm. {near(control, arms)}")
    named = study.controls
    return control or (next(iter(named)) if len(named) == 1 and named <= set(arms) else "")


def _shown_first(arms: list[ArmRuns], control: str) -> list[ArmRuns]:
    """The arms, the best first; a control that is not among those that are compared stands at the end of these."""
    place = next((i for i, arm in enumerate(arms) if arm.name == control), 0)
    if place < SHOWN:
        return arms
    return [*arms[: SHOWN - 1], arms[place], *arms[SHOWN - 1 : place], *arms[place + 1 :]]


def _metric(runs: Sequence[Run]) -> str:
    """The deciding metric; if runs name several (a setting that differs), the score that all of them have."""
    metrics = {run.metric for run in runs}
    return metrics.pop() if len(metrics) == 1 else SCORE


def _labels(runs: Sequence[Run], metric: str) -> dict[str, Label]:
    """Raises ConfigError for a metric that is better where it is lower: the best arm would be called the worst."""
    names = labels.of_runs(runs, [metric, SCORE, *(runs[0].rows.columns.evaluated if runs else [])])
    if names[metric]["better"] == "lower":
        raise ConfigError(
            f"{metric} is better where it is lower, but the metric that decides must be better where it is higher: "
            "let the judge return its negative, or set evaluation.metric to another one"
        )
    return names


def _once(groups: Groups) -> tuple[dict[str, list[Run]], list[Unfinished]]:
    """Each seed of an arm once, the first; the others are set aside."""
    used: dict[str, list[Run]] = {}
    duplicates = []
    for arm, runs in groups.items():
        by_seed: dict[int, Run] = {}
        for run in runs:
            first = by_seed.setdefault(run.seed, run)
            if first is not run:
                why = f"seed {run.seed} of {arm} was run more than once: {first.name} is used"
                duplicates.append(Unfinished(run.name, why, "duplicate", arm, run.seed, first.name))
        used[arm] = list(by_seed.values())
    return used, duplicates


def _material(arms: Sequence[ArmRuns], scores: Scores) -> _Material:
    return _Material(
        arms=arms,
        rows={arm.name: curves.stacked(arm.runs) for arm in arms},
        answers=samples.of_arms({arm.name: arm.runs for arm in arms}),
        scores=scores,
    )


def _described(
    study: StudyRuns, arms: Sequence[ArmRuns], material: _Material, comparability: Comparability, rng_seed: int
) -> Document:
    """The document with what is said of each arm by itself; what sets arms against each other is still empty."""
    rows, scores, few = material.rows, material.scores, material.few
    return {
        "version": document.VERSION,
        "study": study.name,
        "question": " ".join(study.questions),
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "metric": scores.metric,
        "metrics": dict(scores.labels),
        "verdict": summary.undecided(""),
        "claims": [],
        "tuning": None,
        "comparability": comparability,
        "arms": [summary.described(arm, rng_seed=rng_seed, draw=i < SHOWN) for i, arm in enumerate(arms)],
        "iqm_coverage": summary.coverage(arms),
        "improvement": [],
        "curves": curves.curves(few, scores.metric),
        "bands": curves.bands(rows, scores.metric) if rows else [],
        "axes": [],
        "frontier": curves.frontier(few, scores.metric),
        "overoptimization": [
            run
            for arm in material.arms
            for run in overoptimization.overoptimization(arm.name, arm.runs, rows[arm.name], scores)
        ],
        "health": [overoptimization.health(arm, table, scores) for arm, table in rows.items()],
        "audit": [
            one for arm in material.arms for one in audit.audited(arm.name, arm.runs, rows[arm.name], scores.labels)
        ],
        "wins": {"arms": [], "matrix": [], "prompts": 0},
        "samples": samples.side_by_side(material.answers),
        "evaluations": evaluated_again.of_arms({arm.name: arm.runs for arm in arms}),
        "unfinished": [],
        "missing": [],
        "links": {},
        "notes": [],
        "foreign": None,
    }


def _compare(whole: Document, material: _Material, rng_seed: int, *, verdict: document.Verdict) -> None:
    """What sets arms against each other: only where all settings are equal, or allowed to differ."""
    whole["verdict"] = verdict
    whole["improvement"] = summary.improvements(material.arms, rng_seed)
    whole["axes"] = axes.compared(material.rows, material.scores.metric)
    whole["wins"] = wins.wins(material.answers, rng_seed)


def _refusal(comparability: Comparability) -> document.Verdict:
    fields = listed([one["field"] for one in comparability["differing"] if not one["allowed"]])
    return summary.undecided(f"Not comparable: the runs differ in {fields}." if fields else NOTHING)


def _leave_out(whole: Document, study: StudyRuns, groups: Groups, duplicates: Sequence[Unfinished]) -> None:
    """What does not count, what is missing, and where the runs lie that do count."""
    whole["unfinished"] = [run.as_json() for run in sorted([*study.unfinished, *duplicates], key=lambda run: run.name)]
    whole["missing"] = _missing(study, groups)
    whole["links"] = {run.name: study.link(run) for runs in groups.values() for run in runs}


def _missing(study: StudyRuns, groups: Groups) -> list[Missing]:
    """Seeds that the sweep file asks for, or that another arm has, and of which the arm has no finished run."""
    everywhere = {run.seed for runs in groups.values() for run in runs}
    lacking = {
        arm: (everywhere | study.expected.get(runs[0].base, set())) - {run.seed for run in runs}
        for arm, runs in groups.items()
    }
    begun = {runs[0].base for runs in groups.values()}
    lacking |= {arm: seeds for arm, seeds in sorted(study.expected.items()) if arm not in begun}
    return [{"arm": arm, "seeds": sorted(seeds)} for arm, seeds in lacking.items() if seeds]


def _bounded(arms: Sequence[ArmRuns], metric: str) -> list[str]:
    """Sentences on what is left out because there is so much."""
    shown = {arm.name: arm.runs for arm in arms[:SHOWN]}
    most = max((len(runs) for runs in shown.values()), default=0)
    drawn = max((len(runs) for runs in curves.few(shown, metric).values()), default=0)
    sampled = samples.most(len(shown))
    return list(notes.bounded(len(arms), len(shown), sampled if sampled < most else 0, drawn if drawn < most else 0))


def _put_beside(whole: Document, foreign: ForeignRuns, arms: Sequence[ArmRuns], rng_seed: int) -> None:
    """`foreign` of the document. Where no run of ours is asked for, its sentence is all there is to say."""
    from align_lab.compare.foreign import section

    beside = section.compared(foreign, arms, rng_seed)
    whole["foreign"] = beside
    if foreign.alone and not arms:
        whole["study"] = " + ".join(foreign.names)
        whole["metric"] = beside["metric"]
        whole["verdict"] = summary.undecided(beside["sentence"])
