"""What a score alone hides: a reward that is optimised beyond what it means, and text that became long, narrow or repetitive."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from align_lab.compare.evaluations import COLUMN, GOLD, PROXY, Floats
from align_lab.compare.runs import Run
from align_lab.compare.values import count, number
from align_lab.record.layout import CHECKPOINTS

NOISE = 2.0  # standard errors that gold must fall by
GROWN, NARROWED = 0.25, 1 / 3  # shares of the start that are worth a word: length, and entropy or diversity lost


def overoptimisation(arm: str, runs: Sequence[Run], rows: Floats) -> list[dict[str, Any]]:
    """Per run [R, E, C]: has gold peaked while the proxy went on rising, over d = √KL (Gao et al. 2022, arXiv 2210.10760)?

    Marked when gold fell from its peak by more than NOISE · √(se²_peak + se²_last) (se over prompts; the prompts are the same,
    so the noise is smaller than that), while proxy score and KL are higher at the end than at the peak.
    """
    gold, proxy, kl, se, step = (COLUMN[name] for name in (GOLD, PROXY, "eval/kl", "eval/gold_score_se", "step"))
    last = final(rows)
    ranked = np.where(np.isfinite(rows[:, :, gold]), rows[:, :, gold], -np.inf)
    peak = rows[np.arange(len(rows)), ranked.argmax(axis=1)]
    noise = NOISE * np.hypot(np.nan_to_num(peak[:, se]), np.nan_to_num(last[:, se]))
    fell, rose = peak[:, gold] - last[:, gold] > noise, last[:, proxy] > peak[:, proxy]
    found = {
        "peak_step": peak[:, step],
        "peak_gold": peak[:, gold],
        "last_gold": last[:, gold],
        "peak_distance": np.sqrt(np.maximum(peak[:, kl], 0.0)),  # sampling makes a KL of 0 a little negative
        "last_distance": np.sqrt(np.maximum(last[:, kl], 0.0)),
        "proxy_rose": rose,
        "marked": fell & rose & (last[:, kl] > peak[:, kl]),
        "keep": np.where(fell, peak[:, step], np.nan),
    }
    lists = zip(*(values.tolist() for values in found.values()), strict=True)
    return [_run(arm, run, dict(zip(found, values, strict=True))) for run, values in zip(runs, lists, strict=True)]


def final(rows: Floats) -> Floats:
    """The last evaluation [R, C] of each run [R, E, C]: the last whose gold score is a number."""
    known = np.isfinite(rows[:, :, COLUMN[GOLD]])
    return rows[np.arange(len(rows)), known.shape[1] - 1 - known[:, ::-1].argmax(axis=1)]


def _run(arm: str, run: Run, found: dict[str, Any]) -> dict[str, Any]:
    found |= {name: count(found[name]) for name in ("peak_step", "keep")}
    found |= {name: number(found[name]) for name in ("peak_distance", "last_distance")}
    keep = found["keep"]
    kept = None if keep is None else os.path.isdir(f"{run.place}/{CHECKPOINTS}/step-{keep:06d}")
    words = _words(found["peak_gold"], found["last_gold"], found["marked"], keep)
    lost = ", of which no checkpoint is left" if keep and not kept else ""
    return {"arm": arm, "seed": run.seed, "run": run.name, **found, "kept": kept, "words": words + lost}


def _words(peak: float, last: float, marked: bool, keep: int | None) -> str:
    if keep is None:
        return ""
    fell = f"gold fell from {peak:.2f} to {last:.2f} after step {keep}"
    kept = "keep the start policy" if keep == 0 else f"keep step {keep}"
    if marked:
        return f"over-optimised: {fell} while the proxy score rose: {kept}"
    return f"unstable: {fell}, and the proxy score did not rise with the KL: {kept}"


def health(arm: str, rows: Floats) -> dict[str, Any]:
    """Length, entropy and diversity of an arm [R, E, C], at the start and at the end (means of its runs)."""
    start, end = rows[:, 0], final(rows)
    found: dict[str, Any] = {"arm": arm}
    for name in ("length", "entropy", "distinct_2"):
        column = COLUMN[f"eval/{name}"]
        found |= {f"{name}_start": _mean(start[:, column]), name: _mean(end[:, column])}
    rose = {name: _change(_mean(start[:, COLUMN[name]]), _mean(end[:, COLUMN[name]])) for name in (PROXY, GOLD)}
    return {**found, "words": _health_words(found, rose)}


def _health_words(found: Mapping[str, Any], rose: Mapping[str, float]) -> str:
    shares = {
        name: _change(found[f"{name}_start"], found[name]) / (found[f"{name}_start"] or np.inf)
        for name in ("length", "entropy", "distinct_2")
    }
    length, entropy, distinct = (f"{100 * abs(share):.0f} %" for share in shares.values())
    said = []
    if shares["length"] > GROWN:
        hack = " with the score: look for a length hack" if rose[PROXY] > 0 else ""
        said.append(f"length grew by {length}{hack}")
    if shares["length"] < -GROWN:
        said.append(f"length fell by {length}")
    if shares["entropy"] < -NARROWED:
        said.append(f"entropy fell by {entropy}: the policy became narrow")
    if shares["distinct_2"] < -NARROWED:
        said.append(f"distinct word pairs fell by {distinct}: completions became alike")
    if said and rose[GOLD] < 0:
        said.append("gold is below the start")
    return "; ".join(said)


def _change(start: float | None, end: float | None) -> float:
    return end - start if start is not None and end is not None else 0.0


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
