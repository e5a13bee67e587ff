"""`python -m align_lab gate STUDY`: is an arm at most so much worse than a baseline? Ends with a status for CI."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from align_lab.base.errors import ConfigError, NotComparableError, near
from align_lab.base.files import write_text
from align_lab.compare import comparability, pool, terminal
from align_lab.compare.gate import baseline, report
from align_lab.compare.gate.decision import decide
from align_lab.compare.runs import Run, study_folder

EXAMPLES = """examples:
  gate STUDY --arm candidate --against rloo --margin 0.1       two arms of a study
  gate STUDY --arm rloo --store baselines/rloo.json            keep an arm as a baseline, once
  gate STUDY --arm rloo --baseline baselines/rloo.json --margin 0.1 --allow source    in CI, after each change

Exit status: 0 it holds, 1 it does not, 2 wrong command, 3 not comparable, 4 cannot be told yet (more seeds are needed).
"""


def gate(args: Sequence[str]) -> int:
    """Print the decision and write what is asked for. Returns 0, 1 or 4. Raises NotComparableError (status 3)."""
    options = _parser().parse_args(args)
    study = pool.read([study_folder(options.study)])
    arms = comparability.arms(study.runs, options.allow)
    candidate = _arm(arms, options.arm, "--arm")
    metric = candidate[0].metric
    console = Console(highlight=False)
    if options.store:
        baseline.write(Path(options.store), study=study.name, arm=options.arm, metric=metric, runs=candidate)
        console.print(f"{len(candidate)} runs of {escape(options.arm)} are the baseline {escape(options.store)}")
        return 0
    name, against = _baseline(options, arms, metric)
    _refuse_other_settings([*candidate, *against], options.allow)
    values = [[_value(run, metric, curve=options.curve) for run in runs] for runs in (candidate, against)]
    decision = decide(*values, margin=options.margin, confidence=options.confidence, equivalence=options.equivalence)
    sides = [report.Side(arm=arm, values=each) for arm, each in zip((options.arm, name), values, strict=True)]
    decided = report.document(
        decision, metric=f"{metric} over training" if options.curve else metric, candidate=sides[0], baseline=sides[1]
    )
    _write(decided, options, console)
    return decision.status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m align_lab gate",
        description="Is an arm at most a margin worse than a baseline, by one-sided Welch bounds over seeds?",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", help="name of a folder under runs/, or a path")
    parser.add_argument("--arm", required=True, help="the candidate")
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument("--against", metavar="ARM", help="the baseline: another arm of the study")
    other.add_argument("--baseline", metavar="FILE", help="the baseline: what --store has written")
    other.add_argument("--store", metavar="FILE", help="keep the runs of --arm as a baseline, and decide nothing")
    parser.add_argument("--margin", type=_positive, default=0.1, help="what may be lost, in units of the metric (0.1)")
    parser.add_argument("--confidence", type=_confidence, default=0.95, help="of each one-sided bound (0.95)")
    parser.add_argument("--equivalence", action="store_true", help="neither worse nor better by more than the margin")
    parser.add_argument(
        "--curve", action="store_true", help="the mean of the evaluations after the start, not the last one alone"
    )
    parser.add_argument("--allow", action="append", default=[], metavar="FIELD", help="a setting that may differ")
    parser.add_argument("--json", action="store_true", help="print the decision for scripts")
    parser.add_argument("--markdown", metavar="FILE", help="write a table for a pull request")
    parser.add_argument("--junit", metavar="FILE", help="write JUnit XML for a CI system")
    return parser


def _positive(text: str) -> float:
    return _between(text, 0, float("inf"), "a number above 0")


def _confidence(text: str) -> float:
    return _between(text, 0.5, 1, "a number between 0.5 and 1")


def _between(text: str, low: float, high: float, allowed: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low < value < high:
        raise argparse.ArgumentTypeError(f"{text} is not {allowed}")
    return value


def _arm(arms: Mapping[str, list[Run]], name: str, option: str) -> list[Run]:
    if name not in arms:
        raise ConfigError(f"{option}={name}: there is no such arm with finished runs. {near(name, arms)}")
    return list({run.seed: run for run in reversed(arms[name])}.values())[::-1]


def _baseline(options: argparse.Namespace, arms: Mapping[str, list[Run]], metric: str) -> tuple[str, list[Run]]:
    """The name and the runs of the other side. Raises ConfigError where it is judged by another metric."""
    if options.against:
        return options.against, _arm(arms, options.against, "--against")
    arm, stored, runs = baseline.read(Path(options.baseline))
    if stored != metric:
        raise ConfigError(
            f"{options.baseline} is of {stored}, and {options.arm} is decided by {metric}: store it again"
        )
    return f"{arm} (baseline)", runs


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


def _value(run: Run, metric: str, *, curve: bool) -> float:
    """The last evaluation, or the mean of all after the start."""
    values = run.rows[metric]
    return float(values[1:].mean() if curve and len(values) > 1 else values[-1])


def _write(decided: report.GateDocument, options: argparse.Namespace, console: Console) -> None:
    if options.markdown:
        write_text(Path(options.markdown), report.markdown(decided))
    if options.junit:
        write_text(Path(options.junit), report.junit(decided))
    if options.json:
        print(json.dumps(decided, indent=1))
        return
    style = {"holds": "bold green", "unknown": "bold yellow"}.get(decided["outcome"], "bold red")
    console.print(f"[{style}]{escape(decided['sentence'])}[/]")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("arm", "seeds", f"mean of {decided['metric']}", "by seed"):
        table.add_column(heading, overflow="fold")
    for each in report.rows(decided):
        table.add_row(*map(escape, each))
    console.print(table)
