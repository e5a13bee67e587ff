"""`align_lab gate STUDY`: is an arm at most so much worse than a baseline? Ends with a status for CI."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from align_lab.base import answer
from align_lab.base.errors import ConfigError
from align_lab.base.files import write_text
from align_lab.cli import comparison_arguments as arguments
from align_lab.compare import comparability, pool
from align_lab.compare.foreign import section
from align_lab.compare.foreign.reader import ForeignRun, ForeignRuns
from align_lab.compare.gate import baseline, foreign_question, report
from align_lab.compare.gate.decision import decide
from align_lab.compare.gate.question import OVER_TRAINING, Question, chosen, question
from align_lab.compare.pool import StudyRuns
from align_lab.compare.runs import Run, study_folder
from align_lab.record.terminal import Terminal, escape

EXAMPLES = f"""examples:
  gate STUDY --arm candidate --against rloo --margin 0.1       two arms of a study
  gate STUDY --arm rloo --store baselines/rloo.json            keep an arm as a baseline, once
  gate STUDY --arm rloo --baseline baselines/rloo.json --margin 0.1 --allow source    in CI, after each change
  gate --from trl new/ arm=new --from trl old/ arm=old --arm new --against old --margin 0.05     another program's runs

runs of other programs, which nothing proves to be comparable; that is said first:
{arguments.FOREIGN}
Exit status: 0 it holds, 1 it does not, 2 wrong command, 3 not comparable, 4 inconclusive (more seeds are needed).
"""


def gate(args: Sequence[str]) -> int:
    """Print the decision and write what is asked for. Returns 0, 1 or 4. Raises NotComparableError (status 3)."""
    options = _parser().parse_args(args)
    foreign = arguments.foreign_runs("gate", options.foreign, alone=options.study is None)
    study = pool.read([study_folder(options.study)]) if options.study else StudyRuns(folders=[])
    runs = study.runs
    console = Terminal()
    if options.store:
        stored = _store_foreign(foreign, options) if foreign else _store(runs, options)
        answer.give({"baseline": options.store, "arm": options.arm, "runs": stored})
        console.print(f"{stored} runs of {escape(options.arm)} are the baseline {escape(options.store)}")
        return 0
    asked = _asked(study, foreign, options)
    decision = decide(
        asked.candidate["values"],
        asked.baseline["values"],
        margin=options.margin or _declared(study, asked.metric),
        confidence=options.confidence,
        equivalence=options.equivalence,
        paired=asked.paired,
        diverged=(len(asked.candidate["diverged"]), len(asked.baseline["diverged"])),
    )
    decided = report.document(
        decision, metric=asked.metric, candidate=asked.candidate, baseline=asked.baseline, unproven=asked.unproven
    )
    _write(decided, options, console)
    return decision.status


def _declared(study: StudyRuns, metric: str) -> float:
    """The gap that matters to the study. Raises ConfigError where it declares none in this metric."""
    own = {run.metric for run in study.runs}
    if len(study.smallest) == 1 and {metric.removesuffix(OVER_TRAINING)} == own:
        return next(iter(study.smallest))
    raise ConfigError(
        f"how much worse may it be? There is no declared gap that matters (smallest) in {metric}. Say it in units of "
        "that metric, for example --margin 0.1"
    )


def _asked(study: StudyRuns, foreign: ForeignRuns | None, options: argparse.Namespace) -> Question:
    """The two sides, proven comparable where no run of another program is among them."""
    kept = baseline.read(Path(options.baseline)) if options.baseline else None
    if foreign is None and not (kept and kept.foreign):
        return question(
            study, arm=options.arm, against=options.against, kept=kept, curve=options.curve, allow=options.allow
        )
    theirs: list[ForeignRun] = [*(foreign.runs if foreign else []), *(kept.foreign if kept else [])]
    ours = {f"{kept.arm}, {baseline.STORED}": kept.runs} if kept and kept.runs else {}
    against = options.against
    if kept:
        against = kept.foreign[0].label if kept.foreign else f"{kept.arm}, {baseline.STORED} ({section.OURS})"
    own = {**comparability.arms(study.runs, options.allow), **ours}
    return foreign_question.question(theirs, own, arm=options.arm, against=against, curve=options.curve)


def _store(runs: Sequence[Run], options: argparse.Namespace) -> int:
    kept = chosen(comparability.arms(runs, options.allow), options.arm, "--arm")
    baseline.write(
        Path(options.store), study=study_folder(options.study).name, arm=options.arm, metric=kept[0].metric, runs=kept
    )
    return len(kept)


def _store_foreign(foreign: ForeignRuns, options: argparse.Namespace) -> int:
    arms = foreign_question.arms_of(foreign.runs, {})
    label = foreign_question.label(arms, options.arm, "--arm")
    kept = [run for run in foreign.runs if run.label == label]
    baseline.write_foreign(Path(options.store), metric=section.shared_metric(kept, []), runs=kept)
    return len(kept)


def _parser() -> argparse.ArgumentParser:
    parser = arguments.parser(
        "gate",
        description="Is an arm at most a margin worse than a baseline, by one-sided t bounds over seeds?",
        epilog=EXAMPLES,
    )
    parser.add_argument("study", nargs="?", help="name of a folder under runs/, or a path; none with --from alone")
    parser.add_argument("--arm", required=True, help="the candidate")
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument("--against", metavar="ARM", help="the baseline: another arm")
    other.add_argument("--baseline", metavar="FILE", help="the baseline: what --store has written")
    other.add_argument("--store", metavar="FILE", help="keep the runs of --arm as a baseline, and decide nothing")
    parser.add_argument(
        "--margin",
        type=_positive,
        metavar="GAP",
        help="what may be lost, in units of the metric; default: the `smallest` gap that matters, where the study "
        "declares it",
    )
    parser.add_argument("--confidence", type=_confidence, default=0.95, help="of each one-sided bound (0.95)")
    parser.add_argument("--equivalence", action="store_true", help="neither worse nor better by more than the margin")
    parser.add_argument(
        "--curve", action="store_true", help="the area under the whole learning curve, not the last evaluation alone"
    )
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


def _write(decided: report.GateDocument, options: argparse.Namespace, console: Console) -> None:
    if options.markdown:
        write_text(Path(options.markdown), report.markdown(decided))
    if options.junit:
        write_text(Path(options.junit), report.junit(decided))
    answer.give(decided)
    for line in decided["unproven"]:
        console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)
    style = {"holds": "bold green", "unknown": "bold yellow"}.get(decided["outcome"], "bold red")
    console.print(f"[{style}]{escape(decided['sentence'])}[/]")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("arm", "seeds", f"mean of {decided['metric']}", "by seed"):
        table.add_column(heading, overflow="fold")
    for each in report.rows(decided):
        table.add_row(*map(escape, each))
    console.print(table)
    for line in decided["warnings"]:
        console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)
    console.print(f"[dim]{escape(report.cautions(decided)[-1])}[/]", soft_wrap=True)
