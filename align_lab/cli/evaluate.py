"""`align_lab evaluate RUN`: a run's checkpoint under another evaluation, without training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from align_lab.base import answer
from align_lab.base.errors import ConfigError
from align_lab.base.metrics import Metric
from align_lab.base.paths import runs_folder
from align_lab.cli.arguments import Arguments
from align_lab.cli.policy_argument import add_trust, run_folder
from align_lab.record.console import Screen
from align_lab.record.evaluations import Measured, StoredEvaluation
from align_lab.record.final_summary import FinalSummary
from align_lab.record.layout import CONFIG, RunLayout
from align_lab.record.terminal import Terminal, escape

EPILOG = """arguments
  step=last|best|N            the checkpoint (default: last); best has the highest score on the development set
  name=NAME                   of the result (default: from step and settings)
  evaluation.FIELD=VALUE      any field of the evaluation, also further judges:
    evaluation.temperature=0                               greedy decoding
    evaluation.samples=8 evaluation.pass_at=[1,8]          pass@k and maj@k
    evaluation.judges.brief.name=length                    a judge that the run did not have
    evaluation.sets=[harder]                               another evaluation set of the data

The result is RUN/evaluations/NAME.json, the completions NAME.jsonl; the run's own record does not change.
compare --json lists them. Exit status: 0 done, 1 failed, 2 wrong argument or no such checkpoint.
"""


def evaluate(args: Sequence[str]) -> int:
    """Evaluate one run, or every run of a study that has a checkpoint."""
    parser = Arguments(
        prog="align_lab evaluate",
        description="Evaluate a checkpoint again, without training: other decoding, samples, sets or judges.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder or a study: a path, STUDY/NAME, NAME or STUDY")
    parser.add_argument("settings", metavar="KEY=VALUE", nargs="*", help="step, name, and fields of the evaluation")
    add_trust(parser)
    options = parser.parse_intermixed_args(args)
    checkpoint, name, overrides = _settings(options.settings)
    folders = _folders(options.run)
    console, unusable, results = Terminal(soft_wrap=True), list[str](), list[StoredEvaluation]()
    for folder in folders:
        try:
            results.append(
                _one(folder, overrides, checkpoint=checkpoint, name=name, console=console, trusted=options.trust)
            )
        except ConfigError as error:
            if len(folders) == 1:
                raise
            unusable.append(str(error))
    if len(unusable) == len(folders):
        raise ConfigError("no run could be evaluated:\n" + "\n".join(dict.fromkeys(unusable)))
    answer.give({"evaluations": results, "left_out": unusable})
    for text in unusable:
        console.print(f"[yellow]left out:[/] {escape(text)}")
    return 0


def _settings(settings: Sequence[str]) -> tuple[str, str | None, list[str]]:
    """step, name and the overrides of the evaluation."""
    own = {"step": "last", "name": ""}
    overrides: list[str] = []
    for text in settings:
        key, sign, value = text.partition("=")
        if key in own and sign:
            own[key] = value
        elif sign or text.startswith("~"):
            overrides.append(text)
        else:
            raise ConfigError(f"{text}: not understood. Write key=value, for example step=best or evaluation.samples=8")
    return own["step"], own["name"] or None, overrides


def _folders(name: str) -> list[Path]:
    """One run, or the runs of a study. Raises ConfigError with the nearest name."""
    for study in (Path(name), runs_folder() / name):
        inside = sorted(path.parent for path in study.glob(f"[!.]*/{CONFIG}"))
        if inside and not RunLayout(study).config.exists():
            return inside
    return [run_folder(name)]


def _one(
    folder: Path, overrides: Sequence[str], *, checkpoint: str, name: str | None, console: Console, trusted: bool
) -> StoredEvaluation:
    from align_lab.config.evaluation_overrides import evaluated
    from align_lab.run import evaluation  # these import torch
    from align_lab.run.trained import begun, config_of

    values = config_of(folder, trusted=trusted)
    cfg = evaluated(values, begun(folder)["choices"], overrides)
    with Screen(console=console) as screen:
        result, new = evaluation.evaluate(folder, cfg, screen, checkpoint=checkpoint, name=name)
    _show(result, console)
    file = RunLayout(folder).evaluation(result["name"])
    stored = f"Evaluated in {result['about']['seconds']:.0f} s and stored"
    console.print(f"\n{stored if new else 'Evaluated before with the same settings, nothing was computed'}: {file}")
    return result


def _show(result: StoredEvaluation, console: Console) -> None:
    """The metrics in a table, each with its interval, at the start and after the step."""
    declared = {name: Metric(**texts) for name, texts in result["labels"].items()}  # pyright: ignore[reportArgumentType]
    settings = result["settings"]
    summary = FinalSummary(declared, decides=settings["metric"], judges=list(settings["judges"]))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, heading in enumerate(
        ("held-out prompts", "start", f"step {result['step']}", "interval", "change", "interval")
    ):
        table.add_column(heading, justify="right" if place else "left")
    for row in summary.rows():
        sets = [key for key in result["metrics"] if key.count("/") == 2 and key.endswith(f"/{row.key[len('eval/') :]}")]
        for key in (row.key, *sets):
            of_set = f"{key.split('/')[1]}: " if key in sets else ""
            if key in result["metrics"]:
                table.add_row(escape(of_set + row.label), *_cells(result["metrics"][key], row.digits))
    console.print()
    console.print(table)
    how = "of a bounded mean for shares and scores of 0 and 1, else Student's t (docs/evaluation.md)"
    console.print(f"95 % intervals over prompts: {how}.", style="dim")


def _cells(one: Measured, digits: int) -> list[str]:
    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    def between(low: float | None, high: float | None) -> str:
        return "" if low is None or high is None else f"{number(low)} to {number(high)}"

    return [
        number(one["start"]),
        number(one["value"]),
        between(one["low"], one["high"]),
        "–" if one["change"] is None else f"{one['change']:+.{digits}f}",
        between(one["change_low"], one["change_high"]),
    ]
