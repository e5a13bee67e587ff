"""`foreign` of the comparison document: foreign arms beside ours under one score, with a verdict that says what it
lacks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from align_lab.base.errors import ConfigError
from align_lab.base.files import read_lines
from align_lab.base.metrics import METRICS
from align_lab.compare import spending, summary, verdict
from align_lab.compare.document import Foreign, ForeignArm, ForeignColumn, ForeignPoint
from align_lab.compare.foreign import partly_proven, rewards
from align_lab.compare.foreign.reader import ForeignRun, ForeignRuns, final_mean
from align_lab.compare.foreign.sources import SCORES
from align_lab.compare.gaps import Measure
from align_lab.compare.headline import headline
from align_lab.compare.runs import Run
from align_lab.compare.summary import ArmRuns
from align_lab.compare.values import listed, number
from align_lab.compare.verdict import Comparison
from align_lab.record.layout import RunLayout

MARK = "not proven comparable"
OURS = "align_lab"
TRAINED = "objective/scores"  # of the batches that were trained on
BESIDE = {"objective/kl": "eval/kl", "completions/mean_length": "eval/length", "episode": "episode"}  # theirs -> ours


@dataclass
class _Group:
    """An arm, a value a run: its score at the end and before training, and what stands beside it."""

    source: str
    seeds: list[int] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    beside: list[Mapping[str, float]] = field(default_factory=list)

    def add(self, run: Run | ForeignRun, start: float, end: float, beside: Mapping[str, float]) -> None:
        """One run."""
        self.seeds.append(run.seed)
        self.runs.append(run.name)
        self.values.append(end)
        self.starts.append(start)
        self.beside.append(beside)


def compared(foreign: ForeignRuns, arms: Sequence[ArmRuns], rng_seed: int, smallest: float | None = None) -> Foreign:
    """`arms` of ours stand beside, under the score that all runs have. smallest: the gap that matters, in its unit.

    Arms with other rewards are described and not compared.
    """
    metric = shared_metric(foreign.runs, arms)
    groups = _foreign_groups(foreign.runs, metric) | _own_groups(arms, metric)
    values = {arm: group.values for arm, group in groups.items()}
    named = rewards.of_arms(foreign.runs, arms, OURS)
    other = rewards.refusal({arm: reward for arm, reward in named.items() if arm in groups})
    seeds = {arm: group.seeds for arm, group in groups.items()}
    may = {} if other else values
    pairs = verdict.verdicts(may, seeds=seeds, confidence=summary.CONFIDENCE, smallest=smallest) if may else []
    settings = partly_proven.of_arms(foreign.runs, arms, OURS)
    decided = f"{other}." if other else _said(pairs, values, smallest)
    return {
        "mark": MARK,
        "metric": metric,
        "arms": [_arm(arm, groups[arm], metric, rng_seed) for arm in (verdict.ranked(values) if values else [])],
        "sentence": partly_proven.sentence(settings, foreign.runs, MARK.capitalize(), decided),
        "settings": settings,
        "method": verdict.method(),
        "confidence": summary.CONFIDENCE,
        "smallest": smallest,
        "rewards": named,
        "pairs": [summary.pair(one) for one in pairs],
        "columns": _columns(foreign.runs, metric),
        "curves": [point for run in foreign.runs for point in _curves(run)],
        "left_out": [run.as_json() for run in foreign.left_out],
        "notes": [*_notes(foreign, groups, metric), *partly_proven.notes(settings, foreign.runs)],
    }


def _said(pairs: Sequence[Comparison], values: Mapping[str, Sequence[float]], smallest: float | None) -> str:
    """Their units are those of each program, so that gaps have none."""
    return headline(pairs, values, measure=Measure(smallest=smallest)) if values else "No run counts."


def shared_metric(runs: Sequence[ForeignRun], arms: Sequence[ArmRuns]) -> str:
    """The first score that all runs have: the one that decides, then SCORES.

    Raises ConfigError where they share none.
    """
    candidates = dict.fromkeys([*_deciding(runs, arms), *SCORES])
    for metric in candidates:
        if _is_recorded(arms, metric) and all(metric in run.series for run in runs):
            return metric
    has = "; ".join(f"{run.name}: {', '.join(name for name in candidates if name in run.series)}" for run in runs[:6])
    raise ConfigError(
        f"the runs have no score in common ({has}). Compare them apart, or map one of their columns with map=FILE"
    )


def _deciding(runs: Sequence[ForeignRun], arms: Sequence[ArmRuns]) -> set[str]:
    """The metric that decides: of our arms, else of runs that name one; empty where they do not agree."""
    metrics = {arm.metric for arm in arms} or {run.metric for run in runs if run.metric}
    return metrics if len(metrics) == 1 else set()


def _is_recorded(arms: Sequence[ArmRuns], metric: str) -> bool:
    """Have all runs of ours this score? Those of training batches are looked up later."""
    return metric == TRAINED or all(math.isfinite(run.rows[metric][-1]) for arm in arms for run in arm.runs)


def _foreign_groups(runs: Sequence[ForeignRun], metric: str) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        group = groups.setdefault(run.label, _Group(run.source))
        group.add(run, run.first(metric), run.last(metric), {name: run.last(name) for name in BESIDE})
    return groups


def _own_groups(arms: Sequence[ArmRuns], metric: str) -> dict[str, _Group]:
    return {f"{arm.name} ({OURS})": group for arm in arms if (group := _own(arm, metric)).values}


def _own(arm: ArmRuns, metric: str) -> _Group:
    """Runs of ours under the same score; those that did not record it are left out."""
    group = _Group(OURS)
    for run in arm.runs:
        _, values = own_series(run, metric)
        if values:
            group.add(
                run,
                values[0],
                last(metric, values),
                {theirs: float(run.rows[ours][-1]) for theirs, ours in BESIDE.items()},
            )
    return group


def own_series(run: Run, metric: str) -> tuple[list[float], list[float]]:
    """Steps and values of a run of ours: of its evaluations, or of the batches that it was trained on."""
    if metric.startswith("eval/"):
        rows = zip(run.rows["step"].tolist(), run.rows[metric].tolist(), strict=True)
        points = [(step, value) for step, value in rows if math.isfinite(value)]
    elif not run.place:  # of a stored baseline, which keeps evaluations alone
        points = []
    else:
        rows = read_lines(RunLayout(run.path).metrics)
        points = [(row["step"], row[metric]) for row in rows if row.get(metric) is not None]
    return [step for step, _ in points], [value for _, value in points]


def last(metric: str, values: Sequence[float]) -> float:
    """Held-out scores: the last; others, one batch each: the mean of the last tenth."""
    return values[-1] if metric.startswith("eval/") else final_mean(values)


def _arm(name: str, group: _Group, metric: str, rng_seed: int) -> ForeignArm:
    values = np.array(group.values, dtype=float)
    return {
        "name": name,
        "source": group.source,
        "proven": group.source == OURS,
        "n": len(values),
        "seeds": group.seeds,
        "runs": group.runs,
        "start": _mean(group.starts),
        **summary.over_seeds(values, (name, f"foreign {metric}"), rng_seed=rng_seed, draw=True),
        "beside": {key: _mean([row[key] for row in group.beside]) for key in BESIDE},
    }


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else None


def _columns(runs: Sequence[ForeignRun], metric: str) -> list[ForeignColumn]:
    """Which column was taken for what, once a source."""
    taken = {
        (run.source, ours, theirs)
        for run in runs
        for ours, theirs in run.columns.items()
        if ours in METRICS or ours == metric
    }
    return [{"source": source, "metric": ours, "column": theirs} for source, ours, theirs in sorted(taken)]


def _curves(run: ForeignRun) -> Iterator[ForeignPoint]:
    for metric, (steps, values) in run.series.items():
        for step, value in zip(steps, values, strict=True):
            yield {
                "metric": metric, "arm": run.label, "seed": run.seed, "run": run.name, "step": step,
                "value": number(value)
            }  # fmt: skip


def _notes(foreign: ForeignRuns, groups: Mapping[str, _Group], metric: str) -> Iterator[str]:
    columns = dict.fromkeys(f"{run.columns[metric]} of {run.source}" for run in foreign.runs)
    if columns:
        yield f"{metric} is {listed(columns, most=8)}."
    if metric == TRAINED:
        yield (
            "It is the score of training batches, in the mean of the last tenth of the steps: no held-out "
            "score is logged by all."
        )
    episodes = {arm: _mean([row["episode"] for row in group.beside]) for arm, group in groups.items()}
    if apart := spending.spread(episodes):
        yield f"The budget is not equal in episodes {apart}, and what else was spent is not known of all."
    yield from _alone([arm for arm, group in groups.items() if len(group.values) == 1])
    if any(run.sampled for run in foreign.runs):
        yield "Charts that W&B exports may hold a sample of the points only; a project read through the API is whole."
    if len({group.source for group in groups.values()}) > 1:
        yield (
            "Scores, KL and length are in the units of each program: gaps between programs mean something only where "
            "these agree."
        )


def _alone(arms: Sequence[str]) -> Iterator[str]:
    if arms:
        has = "has" if len(arms) == 1 else "have"
        yield f"{listed(arms)} {has} one seed only: nothing is known of the spread over seeds."
