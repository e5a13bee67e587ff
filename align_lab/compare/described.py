"""What is said of each arm by itself, whether or not the arms may be compared."""

from __future__ import annotations

import time

from align_lab.compare import audit, curves, document, evaluated_again, overoptimization, samples, summary
from align_lab.compare.document import Document, Missing
from align_lab.compare.prepared import SHOWN, Prepared


def described(of: Prepared, rng_seed: int) -> Document:
    """The document with what is said of each arm by itself; what sets arms against each other is still empty."""
    rows, scores, few = of.rows, of.scores, of.few
    left_out = [*of.study.unfinished, *of.duplicates]
    return {
        "version": document.VERSION,
        "study": of.study.name,
        "question": " ".join(of.study.questions),
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "metric": scores.metric,
        "metrics": dict(scores.labels),
        "verdict": summary.undecided(""),
        "precision": [],
        "claims": [],
        "factors": None,
        "tuning": None,
        "comparability": of.comparability,
        "arms": [summary.described(arm, rng_seed=rng_seed, draw=i < SHOWN) for i, arm in enumerate(of.arms)],
        "iqm_coverage": summary.coverage(of.arms),
        "improvement": [],
        "curves": curves.curves(few, scores.metric),
        "bands": curves.bands(rows, scores.metric) if rows else [],
        "axes": [],
        "frontier": curves.frontier(few, scores.metric),
        "overoptimization": [
            run
            for arm in of.shown
            for run in overoptimization.overoptimization(arm.name, arm.runs, rows[arm.name], scores)
        ],
        "health": [overoptimization.health(arm, table, scores) for arm, table in rows.items()],
        "audit": [one for arm in of.shown for one in audit.audited(arm.name, arm.runs, rows[arm.name], scores.labels)],
        "wins": {"arms": [], "matrix": [], "prompts": 0, "seeds": 0},
        "samples": samples.side_by_side(of.answers, of.groups),
        "evaluations": evaluated_again.of_arms({arm.name: arm.runs for arm in of.arms}),
        "unfinished": [run.as_json() for run in sorted(left_out, key=lambda run: run.name)],
        "missing": _missing(of),
        "links": {run.name: of.study.link(run) for run in of.runs},
        "code": sorted({run.code for run in of.runs} - {""}),
        "notes": [],
        "foreign": None,
    }


def _missing(of: Prepared) -> list[Missing]:
    """Seeds that the sweep file asks for, or that another arm has, and of which the arm has no finished run.

    Of a study whose seeds come in steps, those that the next look waits for.
    """
    if of.looks:
        return [{"arm": arm, "seeds": list(seeds)} for arm, seeds in of.looks.missing.items()]
    study, groups = of.study, of.groups
    everywhere = {run.seed for runs in groups.values() for run in runs}
    lacking = {
        arm: (everywhere | study.expected.get(runs[0].base, set())) - {run.seed for run in runs}
        for arm, runs in groups.items()
    }
    begun = {runs[0].base for runs in groups.values()}
    lacking |= {arm: seeds for arm, seeds in sorted(study.expected.items()) if arm not in begun}
    return [{"arm": arm, "seeds": sorted(seeds)} for arm, seeds in lacking.items() if seeds]
