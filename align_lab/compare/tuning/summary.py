"""What tuning cost each arm, what it gained, and whether the order of the arms depends on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np

from align_lab.base.task import DEVELOPMENT, FEW_PROMPTS
from align_lab.compare.document_tuning import Expected, TunedArm, TuningDocument
from align_lab.compare.runs import Run
from align_lab.compare.statistics import welch_interval
from align_lab.compare.tuning import expected, order
from align_lab.compare.tuning.expected import Floats
from align_lab.compare.tuning.record import Trial, Tuning
from align_lab.compare.values import number

Groups = Mapping[str, Sequence[Run]]


def summary(tuning: Tuning, groups: Groups) -> TuningDocument | None:
    """None as long as no trial is recorded. `groups`: the study's runs by arm."""
    if not tuning.trials:
        return None
    plan = tuning.plan
    arms = [_arm(tuning, arm, groups.get(arm, ())) for arm in tuning.trials]
    flips = order.flips(arms)
    return {
        "trials": plan["trials"],
        "seeds": list(plan["seeds"]),
        "metric": plan["metric"],
        "method": _method(tuning),
        "arms": arms,
        "leaders": order.leaders(arms),
        "flips": flips,
        "sentence": order.sentence(arms, flips),
    }


def notes(tuning: Tuning) -> Iterator[str]:
    """What a reader has to know of how the recipes were chosen."""
    prompts = tuning.plan.get("prompts")
    if tuning.trials and prompts and prompts < FEW_PROMPTS:
        yield f"Tuning chose by {prompts} development prompts: with so few, recipes are chosen in part by chance."


def _arm(tuning: Tuning, arm: str, runs: Sequence[Run]) -> TunedArm:
    trials, chosen = tuning.trials[arm], tuning.chosen(arm)
    own = f"eval/{DEVELOPMENT}/{tuning.plan['metric'].removeprefix('eval/')}"
    fresh = [run.final[own] for run in runs if own in run.final]
    tuned = [score for score in chosen.scores if score is not None]
    gap = welch_interval(tuned, fresh) if min(len(tuned), len(fresh)) > 1 else None
    return {
        "arm": arm,
        "trials": len(trials),
        "diverged": sum(trial.score is None for trial in trials),
        "recipe": dict(chosen.point),
        "tuned": fmean(tuned),
        "fresh": fmean(fresh) if fresh else None,
        "optimism": fmean(tuned) - fmean(fresh) if fresh else None,
        "low": number(gap.low) if gap else None,
        "high": number(gap.high) if gap else None,
        "episodes": sum(trial.spent["episodes"] for trial in trials),
        "device_seconds": sum(trial.spent["device_seconds"] for trial in trials),
        "flops": sum(trial.spent["flops"] for trial in trials),
        "expected": _expected(tuning, trials, fresh),
        "sensitivity": [{"field": field, "share": share} for field, share in _sensitivity(trials).items()],
    }


def _scores(trials: Sequence[Trial]) -> Floats:
    """[n, S]; a run that diverged counts with the lowest score of its arm."""
    known = [score for trial in trials for score in trial.scores if score is not None]
    lowest = min(known)
    return np.array([[lowest if score is None else score for score in trial.scores] for trial in trials])


def _expected(tuning: Tuning, trials: Sequence[Trial], fresh: Sequence[float]) -> list[Expected]:
    """Only where trials are exchangeable: not with points that depend on results, or with rungs."""
    if tuning.plan["sampler"] != "sobol" or tuning.plan["prune"]:
        return []
    scores = _scores(trials)
    curve: list[Expected] = []
    for count in expected.counts(len(trials)):
        mean, low, high = expected.interval(scores, count, fresh)
        curve.append({"trials": count, "mean": mean, "low": number(low), "high": number(high)})
    return curve


def _sensitivity(trials: Sequence[Trial]) -> dict[str, float]:
    longest = max(trial.steps for trial in trials)
    whole = [trial for trial in trials if trial.steps == longest and trial.score is not None]
    shares = expected.sensitivity([trial.point for trial in whole], [trial.score or 0.0 for trial in whole])
    return dict(sorted(shares.items(), key=lambda one: -one[1]))


def _method(tuning: Tuning) -> str:
    seeds, prompts = tuning.plan["seeds"], tuning.plan.get("prompts")
    judged = f"{tuning.plan['metric']} of the development set{f' ({prompts} prompts)' if prompts else ''}"
    if tuning.plan["sampler"] != "sobol" or tuning.plan["prune"]:
        return f"{judged}; the best of fewer trials is not estimated, because trials depended on each other"
    how = "by all seeds, and judged by others" if len(seeds) > 1 else "and judged by one seed: optimistic"
    return (
        f"{judged}; the best of k trials is the mean over all subsets, chosen {how}; t intervals over trials and seeds"
    )
