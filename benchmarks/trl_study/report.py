"""Both sides by arm and metric: means over seeds, their difference with its interval, wall times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isnan
from statistics import mean
from typing import Any

from align_lab.compare.statistics import Interval, paired_interval, welch_interval

METRICS = {
    "eval/gold_score": "gold score (decides)",
    "eval/score": "score",
    "eval/vader": "VADER",
    "eval/kl": "KL",
    "eval/length": "length",
    "eval/ended": "ended",
}
Results = Mapping[str, Sequence[Mapping[str, Any]]]  # arm -> one result a seed


def compared(results: Results) -> dict[str, dict[str, Any]]:
    """arm -> metric -> means and TRL minus ours, by Welch and paired by seed (same prompts in the same order)."""
    outcome: dict[str, dict[str, Any]] = {}
    for arm, seeds in results.items():
        for metric in METRICS:
            both = {side: [one[side][metric] for one in seeds] for side in ("ours", "trl")}
            outcome.setdefault(arm, {})[metric] = {
                **{side: mean(values) for side, values in both.items()},
                "welch": asdict(welch_interval(both["trl"], both["ours"])),
                "paired": asdict(paired_interval(both["trl"], both["ours"])),
            }
    return outcome


def markdown(results: Results) -> str:
    """A table, and a line on seeds, versions and times."""
    lines = [
        "| algorithm | metric | ours | TRL | TRL - ours, Welch 95 % | paired by seed 95 % |",
        "|---|---|---|---|---|---|",
    ]
    for arm, metrics in compared(results).items():
        for metric, one in metrics.items():
            gaps = [_interval(Interval(**one[kind])) for kind in ("welch", "paired")]
            lines.append(f"| {arm} | {METRICS[metric]} | {one['ours']:.3f} | {one['trl']:.3f} | {' | '.join(gaps)} |")
    every = [one for seeds in results.values() for one in seeds]
    times = {
        arm: ", ".join(f"{side} {mean(one['seconds'][side] for one in seeds):.0f} s" for side in ("ours", "trl"))
        for arm, seeds in results.items()
    }
    versions = ", ".join(f"{name} {version}" for name, version in every[0]["versions"].items())
    plan = every[0]["settings"]["train"]
    lines += [
        "",
        f"{max(map(len, results.values()))} seeds, {plan['steps']} steps of {plan['prompts_per_step']} x "
        f"{plan['group_size']} completions. Mean wall time of a run (ours: the whole command; TRL: `train()` alone): "
        + "; ".join(f"{arm}: {text}" for arm, text in times.items())
        + f". {versions}.",
    ]
    return "\n".join(lines) + "\n"


def _interval(x: Interval) -> str:
    between = "" if isnan(x.low) else f" [{x.low:+.3f}, {x.high:+.3f}]"
    return f"{x.mean:+.3f}{between}"
