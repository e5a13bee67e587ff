"""What a score alone hides: a reward that is optimized beyond what it means, and text that became long, narrow or
repetitive.

There is no over-optimization to see where the score that decides is the one that is optimized.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from align_lab.compare.document import SCORE, Health, Label, Overoptimization
from align_lab.compare.evaluations import ERROR, Floats, Table
from align_lab.compare.labels import short, usual
from align_lab.compare.runs import Run
from align_lab.compare.values import count, figure, number
from align_lab.record.layout import CHECKPOINTS

NOISE = 2.0  # standard errors that the score must fall by
GROWN, NARROWED = 0.25, 1 / 3  # shares of the start that are worth a word: length, and entropy or diversity lost
NOTHING_BESIDE = (
    "The score that decides is the one that is optimized, so no over-optimization can be seen: there is no "
    "independent score "
    "to hold it against. Name one: evaluation.judges, evaluation.metric."
)


@dataclass(frozen=True)
class Scores:
    """The metric that decides, and how it and the optimized score are called."""

    metric: str
    labels: Mapping[str, Label]

    @property
    def independent(self) -> bool:
        """Is the score that decides another than the one that is optimized?"""
        return self.metric != SCORE

    @property
    def label(self) -> str:
        """`exact score`"""
        return (self.labels.get(self.metric) or usual(self.metric))["label"]

    @property
    def decides(self) -> str:
        """`exact`"""
        return short(self.label)

    @property
    def optimized(self) -> str:
        """`proxy score`"""
        return (self.labels.get(SCORE) or usual(SCORE))["label"]


def overoptimization(arm: str, runs: Sequence[Run], rows: Table, scores: Scores) -> list[Overoptimization]:
    """Per run [R, E, C]: has the deciding score peaked while the optimized one went on rising, over d = √KL?

    Marked when it fell from its peak by more than NOISE · √(se²_peak + se²_last) (se over prompts; the prompts are the
    same, so the noise is smaller than that), while the optimized score and KL are higher at the end than at the peak.
    Source: Gao et al. 2022, arXiv 2210.10760. Nothing where the two scores are one.
    """
    if not scores.independent:
        return []
    last, peak = _last(rows, scores.metric), _peak(rows, scores.metric)
    noise = NOISE * np.hypot(*(np.nan_to_num(each[scores.metric + ERROR]) for each in (peak, last)))
    fell = peak[scores.metric] - last[scores.metric] > noise
    rose = last[SCORE] > peak[SCORE]
    columns = {
        "peak_step": peak["step"],
        "peak": peak[scores.metric],
        "last": last[scores.metric],
        "peak_distance": np.sqrt(np.maximum(peak["eval/kl"], 0.0)),  # sampling makes a KL of 0 a little negative
        "last_distance": np.sqrt(np.maximum(last["eval/kl"], 0.0)),
        "score_rose": rose,
        "marked": fell & rose & (last["eval/kl"] > peak["eval/kl"]),
        "keep": np.where(fell, peak["step"], np.nan),
    }
    lines = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [
        _of_run(arm, run, dict(zip(columns, line, strict=True)), scores) for run, line in zip(runs, lines, strict=True)
    ]


def _last(rows: Table, metric: str) -> Table:
    """The last evaluation [R, C] of each run [R, E, C]: the last whose score is a number."""
    known = np.isfinite(rows[metric])
    return _at(rows, known.shape[1] - 1 - known[:, ::-1].argmax(axis=1))


def _peak(rows: Table, metric: str) -> Table:
    return _at(rows, np.where(np.isfinite(rows[metric]), rows[metric], -np.inf).argmax(axis=1))


def _at(rows: Table, places: Any) -> Table:
    return Table(rows.columns, rows.values[np.arange(len(rows)), places])


def _of_run(arm: str, run: Run, line: Mapping[str, Any], scores: Scores) -> Overoptimization:
    keep = count(line["keep"])
    checkpoint = None if keep is None else os.path.isdir(f"{run.place}/{CHECKPOINTS}/step-{keep:06d}")
    lost = ", of which no checkpoint is left" if keep and not checkpoint else ""
    return {
        "arm": arm,
        "seed": run.seed,
        "run": run.name,
        "peak_step": count(line["peak_step"]),
        "peak": line["peak"],
        "last": line["last"],
        "peak_distance": number(line["peak_distance"]),
        "last_distance": number(line["last_distance"]),
        "score_rose": line["score_rose"],
        "marked": line["marked"],
        "keep": keep,
        "checkpoint": checkpoint,
        "words": _words(line, keep, scores) + lost,
    }


def _words(line: Mapping[str, Any], keep: int | None, scores: Scores) -> str:
    if keep is None:
        return ""
    fell = f"{scores.decides} fell from {figure(line['peak'], 2)} to {figure(line['last'], 2)} after step {keep}"
    advice = "keep the start policy" if keep == 0 else f"keep step {keep}"
    if line["marked"]:
        return f"over-optimized: {fell} while the {scores.optimized} rose: {advice}"
    return f"unstable: {fell}, and the {scores.optimized} did not rise with the KL: {advice}"


def health(arm: str, rows: Table, scores: Scores) -> Health:
    """Length, entropy and diversity of an arm [R, E, C], at the start and at the end (means of its runs)."""
    start, end = _at(rows, 0), _last(rows, scores.metric)
    names = ("length", "entropy", "distinct_2")
    before = {name: _mean(start[f"eval/{name}"]) for name in names}
    after = {name: _mean(end[f"eval/{name}"]) for name in names}
    rose = {name: _change(_mean(start[name]), _mean(end[name])) for name in (SCORE, scores.metric)}
    shares = {name: _change(before[name], after[name]) / (before[name] or np.inf) for name in names}
    words = _shares_in_words(shares, hacked=rose[SCORE] > 0)
    if words and rose[scores.metric] < 0:
        words.append(f"{scores.decides} is below the start")
    return {
        "arm": arm,
        "length_start": before["length"],
        "length": after["length"],
        "entropy_start": before["entropy"],
        "entropy": after["entropy"],
        "distinct_2_start": before["distinct_2"],
        "distinct_2": after["distinct_2"],
        "words": "; ".join(words),
    }


def _shares_in_words(shares: Mapping[str, float], *, hacked: bool) -> list[str]:
    length, entropy, distinct = (f"{100 * abs(share):.0f} %" for share in shares.values())
    grew = f"length grew by {length}{' with the score: look for a length hack' if hacked else ''}"
    remarks = (
        (shares["length"] > GROWN, grew),
        (shares["length"] < -GROWN, f"length fell by {length}"),
        (shares["entropy"] < -NARROWED, f"entropy fell by {entropy}: the policy became narrow"),
        (shares["distinct_2"] == -1, "no completion has more than one word at the end"),
        (-1 < shares["distinct_2"] < -NARROWED, f"distinct word pairs fell by {distinct}: completions became alike"),
    )
    return [words for holds, words in remarks if holds]


def _change(start: float | None, end: float | None) -> float:
    return end - start if start is not None and end is not None else 0.0


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
