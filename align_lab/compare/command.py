"""`python -m align_lab compare STUDY`: fair or refused, then a table with every seed and an interval."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from align_lab.compare.comparability import arms, differing, explain, unfair
from align_lab.compare.runs import Run, Unfinished, read_study, study_folder
from align_lab.compare.statistics import Interval, t_interval, welch_interval
from align_lab.errors import ConfigError, NotComparableError

COLUMNS = {"eval/gold_score": "gold score", "eval/score": "proxy score", "eval/kl": "KL", "eval/length": "length"}


def compare(args: Sequence[str]) -> int:
    """Print the comparison. Raises NotComparableError (status 3) with every setting that differs."""
    parser = argparse.ArgumentParser(
        prog="python -m align_lab compare", description="Compare the algorithms of a study."
    )
    parser.add_argument("study", help="name of a folder under runs/, or a path")
    parser.add_argument("--json", action="store_true", help="print the numbers for scripts")
    options = parser.parse_args(args)
    folder = study_folder(options.study)
    runs, unfinished = read_study(folder)
    if not runs:
        raise ConfigError(f"no run of {folder} has finished: " + "; ".join(f"{u.name} ({u.why})" for u in unfinished))
    found = unfair(runs)
    if found:
        raise NotComparableError(
            f"the runs of {folder} are not comparable, these settings differ:\n{explain(found)}\n"
            "Run the arms again with equal settings, under another study=..."
        )
    if options.json:
        print(json.dumps(numbers(runs, unfinished), indent=1))
    else:
        show(folder.name, runs, unfinished)
    return 0


def numbers(runs: Sequence[Run], unfinished: Sequence[Unfinished]) -> dict[str, Any]:
    """Per arm and metric: n, every seed's value, mean and interval (null where one seed gives none)."""
    table: dict[str, Any] = {}
    for arm, members in arms(runs).items():
        members = sorted(members, key=lambda run: run.seed)
        table[arm] = {"n": len(members), "seeds": [run.seed for run in members], "runs": [run.name for run in members]}
        for metric in COLUMNS:
            values = [run.final[metric] for run in members]
            interval = t_interval(values)
            table[arm][metric] = {
                "values": values,
                "mean": interval.mean,
                "interval": None if math.isnan(interval.low) else [interval.low, interval.high],
            }
    return {
        "arms": table,
        "recipes": differing(runs, "recipe"),
        "budgets": differing(runs, "budget"),
        "verdict": verdict(runs),
        "unfinished": {run.name: run.why for run in unfinished},
    }


def show(study: str, runs: Sequence[Run], unfinished: Sequence[Unfinished]) -> None:
    console = Console(highlight=False)
    groups = {arm: sorted(members, key=lambda run: run.seed) for arm, members in arms(runs).items()}
    ranked = sorted(groups.items(), key=lambda item: -t_interval(_values(item[1], "eval/gold_score")).mean)
    start = runs[0].start
    console.print(
        f"[bold]{escape(study)}[/]: {len(runs)} runs of {len(groups)} arms, all settings equal. Scores in sd of human reviews "
        f"(the start: gold {start['eval/gold_score']:.2f}, proxy {start['eval/score']:.2f}), mean and 95 % t interval over seeds.\n"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("arm", "n", "gold by seed", *COLUMNS.values()):
        table.add_column(name, justify="left" if name == "arm" else "right", overflow="fold")
    for arm, members in ranked:
        seeds = " ".join(f"{value:.2f}" for value in _values(members, "eval/gold_score"))
        table.add_row(
            escape(arm),
            str(len(members)),
            seeds,
            *(_text(t_interval(_values(members, metric)), 2 if "score" in metric else 1) for metric in COLUMNS),
        )
    console.print(table)
    console.print(f"\n{escape(verdict(runs))}")
    for title, found in (
        ("Recipes differ in", differing(_firsts(groups), "recipe")),
        ("Budgets differ in", differing(_firsts(groups), "budget")),
    ):
        shown = [key for key in found if not key.startswith("algo.")]
        if shown:
            console.print(escape(f"{title}:\n{explain({key: found[key] for key in shown})}"))
    spent = {arm: members[0].spent["episodes"] for arm, members in groups.items()}
    if len(set(spent.values())) > 1:
        console.print("Episodes charged: " + escape(", ".join(f"{arm} {count}" for arm, count in spent.items())))
    _say_missing(console, groups, unfinished)


def _firsts(groups: Mapping[str, Sequence[Run]]) -> list[Run]:
    return [members[0] for members in groups.values()]


def _say_missing(console: Console, groups: Mapping[str, Sequence[Run]], unfinished: Sequence[Unfinished]) -> None:
    seeds = {run.seed for members in groups.values() for run in members}
    for arm, members in groups.items():
        missing = sorted(seeds - {run.seed for run in members})
        if missing:
            console.print(f"[yellow]{escape(arm)} lacks seed {', '.join(map(str, missing))}[/]")
    for run in unfinished:
        console.print(f"[yellow]left out: {escape(run.name)}: {escape(run.why)}[/]")


def verdict(runs: Sequence[Run]) -> str:
    """The best arm against the second by gold score, in words that the interval of their difference carries."""
    ranked = sorted(arms(runs).items(), key=lambda item: -t_interval(_values(item[1], "eval/gold_score")).mean)
    if len(ranked) < 2:
        return "One arm only: nothing to compare it with."
    (best, first), (second, other) = ranked[:2]
    gap = welch_interval(_values(first, "eval/gold_score"), _values(other, "eval/gold_score"))
    if math.isnan(gap.low):
        return f"{best} is ahead of {second} by {gap.mean:.2f} gold, with too few seeds for an interval: run at least 3 each."
    said = f"{best} > {second}" if gap.low > 0 else f"No difference shown between {best} and {second}"
    return f"{said}: gold differs by {gap.mean:.2f} [{gap.low:.2f}, {gap.high:.2f}] (95 % Welch interval, best two, uncorrected)."


def _values(runs: Sequence[Run], metric: str) -> list[float]:
    return [run.final[metric] for run in runs]


def _text(interval: Interval, digits: int) -> str:
    """Mean ± half-width, which is half as wide as an interval in brackets; the mean alone for one seed."""
    if math.isnan(interval.low):
        return f"{interval.mean:.{digits}f}"
    return f"{interval.mean:.{digits}f} ± {interval.high - interval.mean:.{digits}f}"
