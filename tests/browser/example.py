"""A comparison document written by hand: five arms, five seeds, an over-optimized arm, failed and missing runs.

The curves are formulas with noise, shaped like those of real runs; nothing here is a result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from align_lab.compare.document import VERSION, Document
from align_lab.compare.headline import headline
from align_lab.compare.statistics import IQM_COVERAGE, Interval, t_interval
from align_lab.compare.verdict import verdicts
from tests.browser.example_parts import ARMS, LEFT_OUT, SEEDS, comparability, metrics, samples

START = {
    "eval/gold_score": -0.05,
    "eval/score": 0.0,
    "eval/kl": 0.0,
    "eval/length": 21.0,
    "eval/entropy": 3.1,
    "eval/distinct_2": 0.86,
    "eval/win_rate": 0.5,
}
CURVES = [name for name in START if name != "eval/win_rate"]
STEPS = list(range(0, 101, 10))
X = {"episode": "episodes", "tokens": "tokens", "seconds": "device-seconds", "flops": "FLOPs", "kl": "nats a sequence"}


def document() -> Document:
    """The whole document, equal at every call."""
    rng = np.random.default_rng(7)
    runs = [_run(rng, arm, seed) for arm, row in ARMS.items() for seed in row[-1]]
    curves = [point for run in runs for point in run]
    arms = [_arm(arm, curves) for arm in ARMS]
    arms.sort(key=lambda arm: -arm["metrics"]["eval/gold_score"]["mean"])
    return {
        "version": VERSION,
        "study": "five_algorithms",
        "question": "Which of five algorithms writes the reviews that people would rate highest, at equal episodes?",
        "written": "2026-11-21T09:00:00+0000",
        "metric": "eval/gold_score",
        "metrics": metrics(),
        "verdict": _verdict(arms),
        "claims": [],
        "factors": None,
        "precision": [],
        "tuning": None,
        "comparability": comparability(),
        "arms": arms,
        "iqm_coverage": {str(n): IQM_COVERAGE[n] for n in (4, 5)},
        "improvement": [_improvement(a, b) for a, b in combinations(arms, 2)],
        "curves": curves,
        "bands": [band for metric in CURVES for axis in X for band in _bands(curves, metric, axis)],
        "axes": _axes(arms),
        "frontier": _frontier(curves),
        "overoptimization": [_over(arm, curves) for arm in ARMS],
        "health": [_health(arm) for arm in arms],
        "wins": _wins(arms),
        "samples": samples(),
        "evaluations": [],
        "audit": [],
        **LEFT_OUT,
        "code": ["0123456789"],
        "links": {f"{arm}-tiny-s{seed}-00": f"{arm}-tiny-s{seed}-00" for arm in ARMS for seed in SEEDS},
    }


def bare() -> Document:
    """The least that a document can hold: one arm, one seed, no interval, nothing from during training."""
    whole = document()
    numbers = {"start": None, "values": [0.5], "mean": 0.5, "iqm": 0.5}
    unknown = dict.fromkeys(("sd", "low", "high", "iqm_low", "iqm_high"))
    arm = {
        **whole["arms"][0],
        "n": 1,
        "seeds": [3],
        "runs": ["lonely"],
        "metrics": {"eval/gold_score": {**numbers, **unknown}},
    }
    lists = ("improvement", "curves", "bands", "axes", "frontier", "overoptimization", "health", "samples",
        "unfinished",
             "missing", "notes")  # fmt: skip
    return {
        **whole, **{name: [] for name in lists}, "arms": [arm], "links": {}, "iqm_coverage": {}, "question": "",
        "wins": {"arms": [], "matrix": [], "prompts": 0, "seeds": 0},
        "verdict": {**whole["verdict"], "sentence": "One arm only: nothing to compare it with.", "pairs": []},
        "comparability": {"fair": True, "equal": [], "differing": [], "recipes": [], "budgets": [], "charged": []},
    }  # fmt: skip


def renamed(value: Any, suffix: str) -> Any:
    """The document with a suffix on the name of every arm, wherever it is named."""
    if isinstance(value, str):
        return value + suffix if value in ARMS else value
    if isinstance(value, dict):
        return {renamed(key, suffix): renamed(item, suffix) for key, item in value.items()}
    return [renamed(item, suffix) for item in value] if isinstance(value, list) else value


def _run(rng: np.random.Generator, arm: str, seed: int) -> list[dict[str, Any]]:
    gold, proxy, kl_end, tokens, seconds, _ = ARMS[arm]
    luck, points = rng.normal(0, 0.05), []
    for step in STEPS:
        t = step / STEPS[-1]
        d = np.sqrt(kl_end * t)
        rise = 1 - np.exp(-3 * t)
        values = {
            "eval/gold_score": -0.05 + ((gold + luck) * rise if arm != "rloo" else 0.40 * d - 0.055 * d**2 + luck * t),
            "eval/score": (proxy + luck) * rise,
            "eval/kl": kl_end * t,
            "eval/length": 21 + (16 * t if arm == "rloo" else 3 * t),
            "eval/entropy": 3.1 - (1.7 if arm == "rloo" else 0.6) * t,
            "eval/distinct_2": 0.86 - (0.4 if arm == "rloo" else 0.08) * t,
        }
        at = {"arm": arm, "seed": seed, "run": f"{arm}-tiny-s{seed}-00", "step": step, "episode": step * 64}
        at |= {
            "tokens": step * 64 * tokens,
            "seconds": step * seconds,
            "flops": step * 64 * tokens * 1.7e7,
            "kl": kl_end * t,
        }
        for name, value in values.items():
            noise = float(rng.normal(0, 0.02)) * max(1.0, abs(START[name]) / 3) if step else 0.0
            points.append({"metric": name, **at, "value": float(value + noise)})
    return points


def _arm(arm: str, curves: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seeds = ARMS[arm][-1]
    metrics = {}
    for name in CURVES:
        metrics[name] = _summary(name, _at(curves, arm, name, lambda point: point["step"] == STEPS[-1]))
    metrics["eval/win_rate"] = _summary("eval/win_rate", [0.5 + ARMS[arm][0] / 3 + seed / 100 for seed in seeds])
    return {
        "name": arm,
        "algo": arm,
        "n": len(seeds),
        "seeds": seeds,
        "runs": [f"{arm}-tiny-s{seed}-00" for seed in seeds],
        "metrics": metrics,
    }


def _at(curves: Sequence[dict[str, Any]], arm: str, metric: str, which: Callable[[Any], bool]) -> list[float]:
    return [p["value"] for p in curves if p["arm"] == arm and p["metric"] == metric and which(p)]


def _summary(metric: str, values: list[float]) -> dict[str, Any]:
    middle = sorted(values)[1:-1]
    iqm = {"iqm": float(np.mean(middle)), "iqm_low": min(values), "iqm_high": max(values)}
    sd = float(np.std(values, ddof=1))
    return {"start": START[metric], "values": values, "sd": sd, **_interval(t_interval(values), "mean"), **iqm}


def _gold(arm: dict[str, Any]) -> dict[str, Any]:
    return arm["metrics"]["eval/gold_score"]


def _verdict(arms: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values = {arm["name"]: _gold(arm)["values"] for arm in arms}
    pairs = verdicts(values, smallest=0.1)
    return {
        "sentence": headline(pairs, values),
        "smallest": 0.1,
        "paired": False,
        "contrasts": [],
        "warnings": [],
        "method": "Welch intervals of the difference of means over seeds, Bonferroni-corrected for 10 pairs.",
        "confidence": 0.95,
        "pairs": [{**asdict(pair), **_interval(pair.gap, "gap")} for pair in pairs],
    }


def _interval(interval: Interval, mean: str) -> dict[str, float]:
    return {mean: interval.mean, "low": interval.low, "high": interval.high}


def _improvement(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    x, y = np.array(_gold(a)["values"]), np.array(_gold(b)["values"])
    value = float((x[:, None] > y[None]).mean())
    return {"a": a["name"], "b": b["name"], "value": value, "low": max(0.0, value - 0.2), "high": min(1.0, value + 0.1)}


def _bands(curves: Sequence[dict[str, Any]], metric: str, axis: str) -> list[dict[str, Any]]:
    bands = []
    for arm, row in ARMS.items():
        mine = [[p for p in curves if (p["arm"], p["metric"], p["seed"]) == (arm, metric, seed)] for seed in row[-1]]
        grid = np.linspace(0, min(run[-1][axis] for run in mine), 21)
        values = [np.interp(grid, [p[axis] for p in run], [p["value"] for p in run]) for run in mine]
        for x, column in zip(grid.tolist(), np.transpose(values).tolist(), strict=True):
            band = {"metric": metric, "axis": axis, "arm": arm, "x": x, "n": len(column)}
            bands.append({**band, **_interval(t_interval(column), "mean")})
    return bands


def _axes(arms: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    names = [arm["name"] for arm in arms]
    swapped = [names[1], names[0], *names[2:]]
    axes = []
    for axis, unit in X.items():
        order = swapped if axis in ("seconds", "flops") else names
        means = sorted((_gold(arm)["mean"] for arm in arms), reverse=True)
        flips = [{"ahead": names[1], "behind": names[0], "shown": True}] if order is swapped else []
        axes.append(
            {
                "axis": axis, "unit": unit, "at": 5.0 if axis == "kl" else 6000.0,
                "ranking": [
                    {"arm": arm, "mean": mean - 0.03, "low": mean - 0.1, "high": mean + 0.04, "n": len(ARMS[arm][-1])}
                    for arm, mean in zip(order, means, strict=True)
                ],
                "flips": flips, "words": f"At equal {unit} {names[1]} leads, not {names[0]}" if flips else "",
            }
        )  # fmt: skip
    return axes


def _frontier(curves: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    proxy = {(p["arm"], p["seed"], p["step"]): p["value"] for p in curves if p["metric"] == "eval/score"}
    return [
        {key: p[key] for key in ("arm", "seed", "step", "kl")}
        | {"score": proxy[p["arm"], p["seed"], p["step"]], "decides": p["value"]}
        for p in curves
        if p["metric"] == "eval/gold_score"
    ]


def _over(arm: str, curves: Sequence[dict[str, Any]]) -> dict[str, Any]:
    gold = _at(curves, arm, "eval/gold_score", lambda point: point["seed"] == 0)
    peak, marked = int(np.argmax(gold)), arm == "rloo"
    return {
        "arm": arm, "seed": 0, "run": f"{arm}-tiny-s0-00", "peak_step": STEPS[peak], "peak": gold[peak],
        "last": gold[-1], "peak_distance": 1.0, "last_distance": 2.0, "score_rose": True, "marked": marked,
        "keep": STEPS[peak] if marked else None, "checkpoint": marked or None,
        "words": f"gold falls from {gold[peak]:.2f} to {gold[-1]:.2f} while the proxy rises: keep step {STEPS[peak]}"
        if marked
        else "",
    }  # fmt: skip


def _health(arm: dict[str, Any]) -> dict[str, Any]:
    means = {name: arm["metrics"][f"eval/{name}"]["mean"] for name in ("length", "entropy", "distinct_2")}
    words = "length grew by 76 % with the score: look for a length hack" if arm["name"] == "rloo" else ""
    starts = {f"{name}_start": START[f"eval/{name}"] for name in means}
    return {"arm": arm["name"], **starts, **means, "words": words}


def _wins(arms: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def cell(a: dict[str, Any], b: dict[str, Any]) -> dict[str, float] | None:
        rate = 0.5 + (_gold(a)["mean"] - _gold(b)["mean"]) / 2
        return None if a is b else {"rate": rate, "low": rate - 0.06, "high": rate + 0.06}

    return {
        "arms": [arm["name"] for arm in arms],
        "matrix": [[cell(a, b) for b in arms] for a in arms],
        "prompts": 256,
        "seeds": 5,
    }
