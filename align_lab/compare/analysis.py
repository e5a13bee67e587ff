"""A study's runs -> one plain document: are they comparable, which arm is better, how sure is that, and what else shows.

Terminal, page, tables and figures only show what stands in it. Numbers that do not exist are None, never nan.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align_lab.compare import axes, curves, notes, overoptimisation, pool, samples, summary, wins
from align_lab.compare.comparability import arms as arms_of
from align_lab.compare.comparability import proof
from align_lab.compare.evaluations import GOLD, Floats
from align_lab.compare.pool import StudyRuns
from align_lab.compare.runs import Run, Unfinished
from align_lab.compare.samples import Kept
from align_lab.compare.summary import Arm
from align_lab.compare.values import listed, uncollected

if TYPE_CHECKING:
    from align_lab.compare.foreign.reader import Foreign

VERSION = 1
SHOWN = 24  # arms that are compared pair by pair and drawn: the best ones
NOTHING = "No run has finished yet: nothing to compare."
Groups = Mapping[str, Sequence[Run]]


@uncollected
def analyse(
    folders: Sequence[Path],
    *,
    allow: Sequence[str] = (),
    paired: bool = False,
    rng_seed: int = 0,
    foreign: Foreign | None = None,
) -> dict[str, Any]:
    """The comparison document of the studies in these folders, together.

    `allow`: settings (or groups of them) that may differ; runs with other values of one are arms of their own. Where a setting
    differs that may not, `comparability.fair` is False and nothing is compared: each arm is described by itself.
    `foreign`: runs of other programs, which have a verdict of their own; with them, `folders` may be empty.
    The same record and `rng_seed` give the same document, apart from `written`. Raises ConfigError for a folder without runs.
    """
    found = pool.read(folders)
    groups, twice = _once(arms_of(found.runs, allow))
    arms = summary.ranked(groups)
    comparability = proof(found.runs, {arm.name: arm.runs for arm in arms}, allow)
    document = _head(found) | {"comparability": comparability} | _described(arms, rng_seed)
    shown = arms[:SHOWN]
    rows = {arm.name: curves.stacked(arm.runs) for arm in shown}
    kept = samples.of_arms({arm.name: arm.runs for arm in shown})
    document["samples"] = samples.side_by_side(kept)
    if comparability["fair"]:
        document |= _compared(shown, rows, kept, rng_seed, paired=paired, pairs=len(arms) * (len(arms) - 1) // 2)
    else:
        document |= _refused(comparability)
    document |= _judged(shown, rows)
    document |= _left_out(found, groups, twice)
    document["notes"] = [
        *notes.about_runs(arms, comparability, found.left),
        *notes.about_results(document),
        *notes.about_samples(shown, kept),
        *_bounded(arms),
    ]
    return document | (_foreign(foreign, arms if comparability["fair"] else [], rng_seed) if foreign else {})


def _foreign(foreign: Foreign, arms: Sequence[Arm], rng_seed: int) -> dict[str, Any]:
    """`foreign` of the document. Where no run of ours is asked for, its sentence is all there is to say."""
    from align_lab.compare.foreign import section

    found = section.compared(foreign, arms, rng_seed)
    if arms or not foreign.alone:
        return {"foreign": found}
    said = {"verdict": summary.undecided(found["sentence"]), "metric": found["metric"]}
    return {"foreign": found, "study": " + ".join(foreign.names), **said}


def _head(found: StudyRuns) -> dict[str, Any]:
    return {
        "version": VERSION,
        "study": found.name,
        "question": " ".join(found.questions),
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "metric": GOLD,
        "foreign": {},
    }


def _once(groups: Groups) -> tuple[dict[str, list[Run]], list[Unfinished]]:
    """Each seed of an arm once, the first; the others are set aside."""
    kept: dict[str, list[Run]] = {}
    twice = []
    for arm, runs in groups.items():
        by_seed: dict[int, Run] = {}
        for run in runs:
            first = by_seed.setdefault(run.seed, run)
            if first is not run:
                why = f"seed {run.seed} of {arm} was run more than once: {first.name} is used"
                twice.append(Unfinished(run.name, why, "duplicate", arm, run.seed, first.name))
        kept[arm] = list(by_seed.values())
    return kept, twice


def _described(arms: Sequence[Arm], rng_seed: int) -> dict[str, Any]:
    return {
        "arms": [summary.described(arm, rng_seed=rng_seed, draw=i < SHOWN) for i, arm in enumerate(arms)],
        "iqm_coverage": summary.coverage(arms),
    }


def _compared(
    arms: Sequence[Arm], rows: Mapping[str, Floats], kept: Kept, rng_seed: int, *, paired: bool, pairs: int
) -> dict[str, Any]:
    """What sets arms against each other: only where all settings are equal, or allowed to differ."""
    return {
        "verdict": summary.decided(arms, pairs=pairs, paired=paired),
        "improvement": summary.improvements(arms, rng_seed),
        "axes": axes.compared(rows),
        "wins": wins.wins(kept, rng_seed),
    }


def _refused(comparability: Mapping[str, Any]) -> dict[str, Any]:
    fields = listed([one["field"] for one in comparability["differing"] if not one["allowed"]])
    said = f"Not comparable: the runs differ in {fields}." if fields else NOTHING
    nothing = {"improvement": [], "axes": [], "wins": {"arms": [], "matrix": [], "prompts": 0}}
    return {"verdict": summary.undecided(said), **nothing}


def _judged(arms: Sequence[Arm], rows: Mapping[str, Floats]) -> dict[str, Any]:
    """What is said of each arm by itself: curves, bands, over-optimisation, health of its text."""
    few = curves.few({arm.name: arm.runs for arm in arms})
    return {
        "curves": curves.curves(few),
        "bands": curves.bands(rows) if rows else [],
        "frontier": curves.frontier(few),
        "overoptimisation": [
            run for arm in arms for run in overoptimisation.overoptimisation(arm.name, arm.runs, rows[arm.name])
        ],
        "health": [overoptimisation.health(arm, values) for arm, values in rows.items()],
    }


def _left_out(found: StudyRuns, groups: Groups, twice: Sequence[Unfinished]) -> dict[str, Any]:
    out = sorted([*found.unfinished, *twice], key=lambda run: run.name)
    return {
        "unfinished": [asdict(run) for run in out],
        "missing": _missing(found, groups),
        "links": {run.name: found.link(run) for runs in groups.values() for run in runs},
    }


def _missing(found: StudyRuns, groups: Groups) -> list[dict[str, Any]]:
    """Seeds that the sweep file asks for, or that another arm has, and of which the arm has no finished run."""
    everywhere = {run.seed for runs in groups.values() for run in runs}
    asked = {arm: found.wanted.get(runs[0].base, set()) for arm, runs in groups.items()}
    lacks = {arm: (everywhere | asked[arm]) - {run.seed for run in runs} for arm, runs in groups.items()}
    begun = {runs[0].base for runs in groups.values()}
    lacks |= {arm: seeds for arm, seeds in sorted(found.wanted.items()) if arm not in begun}
    return [{"arm": arm, "seeds": sorted(seeds)} for arm, seeds in lacks.items() if seeds]


def _bounded(arms: Sequence[Arm]) -> list[str]:
    """Sentences on what is left out because there is so much."""
    shown = {arm.name: arm.runs for arm in arms[:SHOWN]}
    most = max((len(runs) for runs in shown.values()), default=0)
    drawn = max((len(runs) for runs in curves.few(shown).values()), default=0)
    sampled = samples.most(len(shown))
    return list(notes.bounded(len(arms), len(shown), sampled if sampled < most else 0, drawn if drawn < most else 0))
