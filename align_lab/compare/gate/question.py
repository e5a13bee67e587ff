"""The two sides of a gate, a value a seed: two arms of a study, or an arm and a stored baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from align_lab.base.errors import ConfigError, NotComparableError, near
from align_lab.compare import comparability, divergence, terminal
from align_lab.compare.asked import paired_by_seed
from align_lab.compare.gate.baseline import STORED, Baseline
from align_lab.compare.gate.report import Side
from align_lab.compare.pool import StudyRuns
from align_lab.compare.runs import Run

OVER_TRAINING = " over training"  # behind the name of a metric: the height of its whole curve


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be decided. `unproven`: sentences that come first, where nothing shows that the sides are comparable;
    empty where it is proven.
    """

    candidate: Side
    baseline: Side
    metric: str
    unproven: tuple[str, ...] = ()
    paired: bool = False  # both sides hold the same seeds in the same order


def question(
    study: StudyRuns, *, arm: str, against: str | None, kept: Baseline | None, curve: bool, allow: Sequence[str]
) -> Question:
    """Against an arm, or against what was kept; seed by seed where the study's verdicts are paired.

    Raises ConfigError for an arm that is not there or whose runs all diverged, and where sides that are paired have no
    seed in common; NotComparableError where settings differ.
    """
    arms, paired = comparability.arms(study.runs, allow), paired_by_seed(study)
    lost = divergence.left_out(arms, study.unfinished)
    candidate = chosen(arms, arm, "--arm")
    metric = candidate[0].metric
    name, other = _stored(kept, arm, metric) if kept else (str(against), chosen(arms, str(against), "--against"))
    _refuse_other_settings([*candidate, *other], [*allow, *(_of_other_code(candidate, other, allow) if kept else ())])
    if paired:
        candidate, other = _at_common_seeds(candidate, other)
    return Question(
        candidate=_side(arm, candidate, metric, lost.get(arm, []), curve=curve),
        baseline=_side(name, other, metric, [] if kept else lost.get(str(against), []), curve=curve),
        metric=named(metric, curve=curve),
        paired=paired,
    )


def _side(arm: str, runs: Sequence[Run], metric: str, diverged: list[int], *, curve: bool) -> Side:
    values = [value(run, metric, curve=curve) for run in runs]
    return Side(arm=arm, seeds=[run.seed for run in runs], values=values, diverged=diverged)


def _at_common_seeds(candidate: Sequence[Run], other: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    first, second = ({run.seed: run for run in runs} for runs in (candidate, other))
    if not (shared := sorted(first.keys() & second.keys())):
        listed = [", ".join(map(str, sorted(each))) for each in (first, second)]
        raise ConfigError(
            "the study's verdicts are paired by seed, because the runs of a seed share what they start from, and the "
            f"candidate (seeds {listed[0]}) has no seed in common with the baseline (seeds {listed[1]}). Run it with "
            f"seed={listed[1].replace(' ', '')}"
        )
    return [first[seed] for seed in shared], [second[seed] for seed in shared]


def named(metric: str, *, curve: bool) -> str:
    """What is compared, in words."""
    return f"{metric}{OVER_TRAINING}" if curve else metric


def chosen(arms: Mapping[str, Sequence[Run]], name: str, option: str) -> list[Run]:
    """The runs of an arm, one for each seed. Raises ConfigError with the near match."""
    if name not in arms:
        raise ConfigError(f"{option}={name}: there is no such arm with finished runs. {near(name, arms)}")
    return list({run.seed: run for run in reversed(arms[name])}.values())[::-1]


def _stored(kept: Baseline, arm: str, metric: str) -> tuple[str, list[Run]]:
    """Name and runs. Raises ConfigError where they are judged by another metric."""
    if kept.metric != metric:
        raise ConfigError(f"the baseline is of {kept.metric}, and {arm} is decided by {metric}: store it again")
    return f"{kept.arm} ({STORED})", list(kept.runs)


def _of_other_code(candidate: Sequence[Run], other: Sequence[Run], allow: Sequence[str]) -> set[str]:
    """Settings that the code of one side does not have: they belong to the code, where that may differ."""
    if "source" not in allow:
        return set()
    ours, theirs = ({*runs[0].fields, *runs[0].hashes} for runs in (candidate, other))
    return ours ^ theirs


def _refuse_other_settings(runs: Sequence[Run], allow: Sequence[str]) -> None:
    proof = comparability.proof(runs, {}, allow)
    if not proof["fair"]:
        fields = [one["field"] for one in proof["differing"] if not one["allowed"]]
        raise NotComparableError(
            "candidate and baseline are not comparable, these settings differ:\n"
            f"{terminal.differing(proof['differing'])}\n"
            "Run both with equal settings, or let the decision be about the difference itself: "
            + " ".join(f"--allow {field}" for field in fields)
        )


def value(run: Run, metric: str, *, curve: bool) -> float:
    """The last evaluation, or the height of the whole learning curve over episodes."""
    values = run.rows[metric]
    return height(run.rows["episode"], values) if curve else float(values[-1])


def height(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """The area under a curve, divided by its length: ∫ y dx / (x_last - x_first), by trapezoids. Shapes [E], [E].

    It counts how early a score is reached, wherever the evaluations lie; its unit is that of y. One point: its y.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < 2 or x[-1] <= x[0]:
        return float(y[-1]) if len(y) else float("nan")
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))
