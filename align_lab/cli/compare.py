"""`python -m align_lab compare STUDY...`: fair or refused, then the verdict, here and on a page."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from align_lab.base.errors import ConfigError, NotComparableError
from align_lab.base.paths import runs_folder
from align_lab.base.signals import stop_requests
from align_lab.compare import lock, terminal
from align_lab.compare.analysis import analyze
from align_lab.compare.document import Document
from align_lab.compare.runs import study_folder

if TYPE_CHECKING:
    from align_lab.compare.foreign.reader import ForeignRuns

LOOK_SECONDS = 5.0
FOREIGN = """runs of other programs, marked as not proven comparable, with a verdict of their own:
  --from trl DIR              trainer_state.json, in DIR or below it
  --from verl DIR             PROJECT/EXPERIMENT.jsonl of trainer.logger=[console,file]
  --from openrlhf FILE        its logged rows: .jsonl, .json, .csv or .parquet
  --from prime_rl DIR         metrics.jsonl of its file monitor, in DIR or below it
  --from wandb FILE           a chart, runs table or history as W&B exports it (.csv, .json, .jsonl, .parquet)
  --from wandb TEAM/PROJECT   every row of the project's finished runs, through the API (WANDB_API_KEY)
Arm and seed are read from a config beside the file, or from names such as grpo-s1 and grpo/seed1; or given:
arm=grpo seed=1.
Their configs are compared with ours field by field (docs/other_trainers.md): those beside the file are found, others
are given: config=FILE (JSON, yaml, TOML, or the script with the command line), version=1.16, trainer=grpo.
Columns that have other names: map=FILE, a yaml such as
  metrics:
    eval/score: [my_eval_reward]
    objective/scores: [my_train_reward]
"""
FIELDS = "a setting that may differ, or a group of them (numerics, evaluation, source); may be given again"
FILES = "files: a local file that the config names was changed between these runs: of the reward, the data or the model"


def compare(args: Sequence[str]) -> int:
    """Print the comparison and write its page. Raises NotComparableError (status 3) with every setting that differs."""
    options = _parser().parse_args(args)
    folders = [study_folder(study) for study in options.study]
    foreign = _foreign(options.foreign, alone=not folders)
    if options.watch and folders:
        _watch(folders, options.allow)
    document = analyze(folders, allow=options.allow, paired=options.paired, control=options.control, foreign=foreign)
    if folders:
        _refuse_nothing(document)
        _refuse(document)
    if options.json:
        print(json.dumps(document, indent=1))
        return 0
    console = Console(highlight=False)
    terminal.show(document, console)
    if not options.no_page:
        _write(document, folders, options, console)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m align_lab compare",
        description="Are the runs comparable, and which arm did better, how surely?",
        epilog=FOREIGN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "study", nargs="*", help="names of folders under runs/, or paths; several are compared together"
    )
    parser.add_argument(
        "--from",
        action="append",
        nargs="+",
        default=[],
        dest="foreign",
        metavar=("SOURCE PATH", "arm=NAME seed=N map=FILE config=FILE version=V trainer=NAME"),
        help="runs of another program (below); may be given again",
    )
    parser.add_argument("--allow", action="append", default=[], metavar="FIELD", help=FIELDS)
    parser.add_argument(
        "--paired", action="store_true", help="decide by differences seed by seed, where all arms share seeds"
    )
    parser.add_argument(
        "--control",
        default="",
        metavar="ARM",
        help="compare every other arm with this one only; default: the sweep file's `control`, else all pairs",
    )
    parser.add_argument("--watch", action="store_true", help="look again every five seconds while runs are going on")
    parser.add_argument("--json", action="store_true", help="print the whole comparison for scripts, write nothing")
    parser.add_argument("--no-page", action="store_true", help="only the terminal")
    parser.add_argument("--figures", action="store_true", help="also SVG and PNG figures for papers (some seconds)")
    return parser


def _foreign(typed: Sequence[Sequence[str]], *, alone: bool) -> ForeignRuns | None:
    if not typed and alone:
        raise ConfigError("compare needs a STUDY, or runs of another program: --from SOURCE PATH. See compare --help")
    if not typed:
        return None
    from align_lab.compare.foreign import reader

    return reader.read(typed, alone=alone)


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
    console.print(
        f"To compute it all again from nothing: python -m align_lab replay {locked}", style="dim", soft_wrap=True
    )


def _watch(folders: Sequence[Path], allow: Sequence[str]) -> None:
    """Show the comparison as it grows, until no run goes on."""
    console = Console(highlight=False)
    with stop_requests() as stop, Live(console=console, auto_refresh=False, transient=True) as live:
        stop.patient = True
        while not stop.asked:
            document = analyze(folders, allow=allow)
            live.update(terminal.render(document), refresh=True)
            if not any(run["state"] == "running" for run in document["unfinished"]):
                return
            time.sleep(LOOK_SECONDS)
