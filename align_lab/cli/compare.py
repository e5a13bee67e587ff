"""`align_lab compare STUDY...`: fair or refused, then the verdict, here and on a page."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live

from align_lab.base import answer
from align_lab.base.errors import ConfigError, NotComparableError
from align_lab.base.paths import runs_folder
from align_lab.base.signals import stop_requests
from align_lab.cli import comparison_arguments as arguments
from align_lab.compare import lock, terminal
from align_lab.compare.analysis import analyze
from align_lab.compare.asked import Asked
from align_lab.compare.document import Document
from align_lab.compare.runs import study_folder
from align_lab.record.terminal import Terminal

LOOK_SECONDS = 5.0
FOREIGN = f"runs of other programs, marked as not proven comparable, with a verdict of their own:\n{arguments.FOREIGN}"
FILES = "files: a local file that the config names was changed between these runs: of the reward, the data or the model"


def compare(args: Sequence[str]) -> int:
    """Print the comparison and write its page. Raises NotComparableError (status 3) with every setting that differs."""
    options = _parser().parse_args(args)
    folders = [study_folder(study) for study in options.study]
    foreign = arguments.foreign_runs("compare", options.foreign, alone=not folders)
    if options.watch and folders:
        _watch(folders, options.allow)
    document = analyze(
        folders,
        allow=options.allow,
        asked=Asked(control=options.control, smallest=options.smallest, paired=options.paired),
        foreign=foreign,
        evaluation=options.evaluation,
    )
    if folders:
        _refuse_nothing(document)
        _refuse(document)
    answer.give(document)
    if answer.wanted():
        return 0
    console = Terminal()
    terminal.show(document, console)
    if not options.no_page and not options.evaluation:  # page and lock are of what the runs declared
        _write(document, folders, options, console)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = arguments.parser(
        "compare", description="Are the runs comparable, and which arm did better, how surely?", epilog=FOREIGN
    )
    parser.add_argument(
        "study", nargs="*", help="names of folders under runs/, or paths; several are compared together"
    )
    parser.add_argument(
        "--paired",
        action=argparse.BooleanOptionalAction,
        help="decide by the differences at the seeds that two arms share, or not; default: as the study declares it, "
        "else where a seed also moves the pairs, the reward or the start policy",
    )
    parser.add_argument(
        "--control",
        default="",
        metavar="ARM",
        help="compare every other arm with this one only; default: the study's `contrasts` or `control`, else pairs",
    )
    parser.add_argument(
        "--smallest",
        type=_gap,
        metavar="GAP",
        help="the smallest gap that matters, in units of the metric; default: what the study declares, else none, and "
        "then no arms are called equal",
    )
    parser.add_argument(
        "--evaluation",
        default="",
        metavar="NAME",
        help="decide by this evaluation of all runs, made after training (`evaluate STUDY name=NAME`); writes no page",
    )
    parser.add_argument("--watch", action="store_true", help="look again every five seconds while runs are going on")
    parser.add_argument("--no-page", action="store_true", help="only the terminal")
    parser.add_argument("--figures", action="store_true", help="also SVG and PNG figures for papers (some seconds)")
    return parser


def _gap(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a gap: type a number above 0, for example --smallest=0.1")
    return value


def _refuse_nothing(document: Document) -> None:
    if not document["arms"]:
        reasons = "; ".join(f"{run['name']} ({run['why']})" for run in document["unfinished"])
        raise ConfigError(f"no run of {document['study']} has finished: {reasons}")


def _refuse(document: Document) -> None:
    proof = document["comparability"]
    if not proof["fair"]:
        fields = [item["field"] for item in proof["differing"] if not item["allowed"]]
        content = f"({FILES})\n" if "files" in fields else ""
        raise NotComparableError(
            f"the runs of {document['study']} are not comparable, these settings differ:\n"
            f"{terminal.differing(proof['differing'])}\n{content}"
            "Run the arms again with equal settings under another study=..., or show them apart with "
            + " ".join(f"--allow={field}" for field in fields[:3])
            + (" ..." if fields[3:] else "")
        )


def _write(document: Document, folders: Sequence[Path], options: argparse.Namespace, console: Console) -> None:
    from align_lab.compare import report

    home = folders[0] if folders else runs_folder() / "foreign"
    written = report.write(document, home, figures=options.figures)
    parts = "tables and figures" if options.figures else "tables"
    console.print(f"\nPage: {written[0]}   Markdown: {written[1].name}   {parts}: {home / 'report'}", soft_wrap=True)
    if not folders:
        return
    locked = lock.write(document, folders)
    again = f"align_lab replay {locked} --fresh"
    console.print(f"To compute it all again from nothing: {again}", style="dim", soft_wrap=True)


def _watch(folders: Sequence[Path], allow: Sequence[str]) -> None:
    """Show the comparison as it grows, until no run goes on."""
    console = Terminal()
    with stop_requests() as stop, Live(console=console, auto_refresh=False, transient=True) as live:
        stop.patient = True
        while not stop.asked:
            document = analyze(folders, allow=allow)
            live.update(terminal.render(document), refresh=True)
            if not any(run["state"] == "running" for run in document["unfinished"]):
                return
            time.sleep(LOOK_SECONDS)
