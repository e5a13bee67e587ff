"""`foreign` of the comparison document: foreign arms beside ours under one score, with a verdict that says what it lacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from align_lab.base.errors import ConfigError
from align_lab.base.files import read_lines
from align_lab.compare import summary, verdict
from align_lab.compare.evaluations import COLUMN
from align_lab.compare.foreign.reader import Foreign, ForeignRun, final_mean
from align_lab.compare.foreign.sources import SCORES
from align_lab.compare.runs import Run
from align_lab.compare.summary import Arm
from align_lab.compare.values import listed, number
from align_lab.record.layout import RunLayout

MARK = "not proven comparable"
OURS = "align_lab"
BESIDE = ("objective/kl", "completions/mean_length", "episode")
SHARE = 0.1  # of the largest gain in training: the gap worth seeing, in whatever unit the score has


def compared(foreign: Foreign, arms: Sequence[Arm], rng_seed: int) -> dict[str, Any]:
    """`arms` of ours stand beside, under the score that all runs have."""
    metric = _metric(foreign.runs, arms)
    groups = _foreign_groups(foreign.runs, metric) | _own_groups(arms, metric)
    ranked = verdict.ranked({arm: group["values"] for arm, group in groups.items()}) if groups else []
    return {
        "mark": MARK,
        "metric": metric,
        "arms": [_arm(arm, groups[arm], metric, rng_seed) for arm in ranked],
        **_decided(groups),
        "columns": _columns(foreign.runs),
        "curves": list(_curves(foreign.runs)),
        "left_out": [asdict(run) for run in foreign.left_out],
        "notes": list(_notes(foreign, groups, metric)),
    }


def _metric(runs: Sequence[ForeignRun], arms: Sequence[Arm]) -> str:
    """The first score that all runs have. Raises ConfigError where they have none in common."""
    for metric in SCORES:
        own = metric == "objective/scores" or all(_evaluated(run, metric) for arm in arms for run in arm.runs)
        if own and all(metric in run.series for run in runs):
            return metric
    has = "; ".join(f"{run.name}: {', '.join(m for m in SCORES if m in run.series)}" for run in runs[:6])
    raise ConfigError(
        f"the runs have no score in common ({has}). Compare them apart, or map one of their columns with map=FILE"
    )


def _evaluated(run: Run, metric: str) -> bool:
    return bool(np.isfinite(run.rows[-1, COLUMN[metric]]))


def _foreign_groups(runs: Sequence[ForeignRun], metric: str) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        group = groups.setdefault(
            run.label, {"source": run.source, "seeds": [], "values": [], "starts": [], "runs": [], "beside": []}
        )
        group["seeds"].append(run.seed)
        group["runs"].append(run.name)
        group["values"].append(run.last(metric))
        group["starts"].append(run.first(metric))
        group["beside"].append({name: run.last(name) for name in BESIDE})
    return groups


def _own_groups(arms: Sequence[Arm], metric: str) -> dict[str, dict[str, Any]]:
    return {f"{arm.name} ({OURS})": group for arm in arms if (group := _own(arm, metric))["values"]}


def _own(arm: Arm, metric: str) -> dict[str, Any]:
    """Runs of ours under the same score; those that did not record it are left out."""
    group: dict[str, Any] = {"source": OURS, "seeds": [], "values": [], "starts": [], "runs": [], "beside": []}
    for run in arm.runs:
        values = _own_values(run, metric)
        if values:
            last = values[-1] if metric.startswith("eval/") else final_mean(values)
            group["seeds"].append(run.seed)
            group["runs"].append(run.name)
            group["values"].append(last)
            group["starts"].append(values[0])
            names = ("eval/kl", "eval/length", "episode")
            found = (float(run.rows[-1, COLUMN[name]]) for name in names)
            group["beside"].append(dict(zip(BESIDE, found, strict=True)))
    return group


def _own_values(run: Run, metric: str) -> list[float]:
    if metric in COLUMN:
        return [value for value in run.rows[:, COLUMN[metric]].tolist() if math.isfinite(value)]
    return [row[metric] for row in read_lines(RunLayout(run.path).metrics) if row.get(metric) is not None]


def _arm(name: str, group: Mapping[str, Any], metric: str, rng_seed: int) -> dict[str, Any]:
    values = np.array(group["values"], dtype=float)
    return {
        "name": name,
        "source": group["source"],
        "proven": group["source"] == OURS,
        "n": len(values),
        "seeds": group["seeds"],
        "runs": group["runs"],
        "start": _mean(group["starts"]),
        **summary.over_seeds(values, (name, f"foreign {metric}"), rng_seed=rng_seed, draw=True),
        "beside": {key: _mean([row[key] for row in group["beside"]]) for key in BESIDE},
    }


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else None


def _decided(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The verdict of `summary.decided`, with a smallest gap in the unit of this score, and what it lacks said first."""
    values = {arm: group["values"] for arm, group in groups.items()}
    seeds = {arm: group["seeds"] for arm, group in groups.items()}
    smallest = _worth_seeing(groups)
    found = verdict.verdicts(values, seeds=seeds, confidence=summary.CONFIDENCE, smallest=smallest) if values else []
    said = verdict.headline(found, values) if values else "No run counts."
    return {
        "sentence": f"{MARK.capitalize()} (settings, data and reward are not known to be equal): {said}",
        "method": verdict.METHOD,
        "confidence": summary.CONFIDENCE,
        "smallest": smallest,
        "pairs": [summary.pair(one) for one in found],
    }


def _worth_seeing(groups: Mapping[str, Mapping[str, Any]]) -> float:
    """A tenth of what training gained most, to two digits; 0.1 where nothing changed."""
    gains = [abs(float(np.mean(group["values"]) - np.mean(group["starts"]))) for group in groups.values()]
    most = max((gain for gain in gains if math.isfinite(gain)), default=0.0)
    return float(f"{SHARE * most:.2g}") or SHARE


def _columns(runs: Sequence[ForeignRun]) -> list[dict[str, str]]:
    """Which column was taken for what, once a source."""
    found = {(run.source, ours, theirs) for run in runs for ours, theirs in run.columns.items()}
    return [{"source": source, "metric": ours, "column": theirs} for source, ours, theirs in sorted(found)]


def _curves(runs: Sequence[ForeignRun]) -> Iterator[dict[str, Any]]:
    for run in runs:
        for metric, (steps, values) in run.series.items():
            for step, value in zip(steps, values, strict=True):
                yield {
                    "metric": metric,
                    "arm": run.label,
                    "seed": run.seed,
                    "run": run.name,
                    "step": step,
                    "value": number(value),
                }


def _notes(foreign: Foreign, groups: Mapping[str, Mapping[str, Any]], metric: str) -> Iterator[str]:
    taken = sorted({(run.source, run.columns[metric]) for run in foreign.runs})
    if taken:
        yield f"{metric} is {listed([f'{column} of {source}' for source, column in taken], most=8)}."
    if metric == "objective/scores":
        yield "It is the score of training batches, in the mean of the last tenth of the steps: no held-out score is logged by all."
    alone = [arm for arm, group in groups.items() if len(group["values"]) == 1]
    if alone:
        yield f"{listed(alone)} {'has' if len(alone) == 1 else 'have'} one seed only: nothing is known of the spread over seeds."
    if any(run.sampled for run in foreign.runs):
        yield "Charts that W&B exports may hold a sample of the points only; a project read through the API is whole."
    if len({run.source for run in foreign.runs}) > 1 or any(group["source"] == OURS for group in groups.values()):
        yield "Scores, KL and length are in the units of each program: gaps between programs mean something only where these agree."
