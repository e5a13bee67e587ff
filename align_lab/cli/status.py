"""`python -m align_lab status STUDY`: the state of every run, from any shell, at any time."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from align_lab.base.signals import stop_requests
from align_lab.compare.runs import study_folder
from align_lab.dispatch import expected_runs, status_table
from align_lab.dispatch.launch import current_states
from align_lab.dispatch.slurm import SlurmError
from align_lab.dispatch.states import TaskState

RESUBMITTED = ("failed", "stopped", "missing", "cancelled")  # what the command that started the study submits again


def status(args: Sequence[str]) -> int:
    """Each arm and seed with state, step, score, speed, time left and node; for a failure its reason and its log."""
    parser = argparse.ArgumentParser(
        prog="python -m align_lab status",
        description="The state of every run of a study, and the reason of every failure.",
    )
    parser.add_argument("study", metavar="STUDY", help="name of a folder under runs/, or a path")
    parser.add_argument("--watch", action="store_true", help="refresh every two seconds, until all runs have ended")
    parser.add_argument("--json", action="store_true", help="print the states as JSON, for scripts")
    options = parser.parse_args(args)
    folder, console = study_folder(options.study), Console(highlight=False, soft_wrap=True)
    tasks = _states(folder)
    if options.json:
        question = expected_runs.read(folder)["question"]
        content = {"study": folder.name, "question": question, "tasks": [asdict(task) for task in tasks]}
        print(json.dumps(content))
        return 0
    if options.watch:
        _watch(folder, tasks, console)
        tasks = _states(folder)
    _print(folder, tasks, console)
    return 0


def _watch(folder: Path, tasks: Sequence[TaskState], console: Console) -> None:
    names = {task.name for task in tasks}
    with (
        stop_requests() as stop,
        status_table.StatusTable(console, lambda: current_states(folder), names=names) as table,
    ):
        stop.patient = True
        table.wait_until_ended(stop)


def _print(folder: Path, tasks: Sequence[TaskState], console: Console) -> None:
    expected = expected_runs.read(folder)
    console.print(f"[bold]{escape(folder.name)}[/] {escape(expected['question'])}")
    console.print(status_table.table(tasks), soft_wrap=False)
    if expected["left"]:
        console.print(f"No longer in the sweep file: {escape(', '.join(expected['left']))}")
    incomplete = [task for task in tasks if task.kind == "run" and task.state in RESUBMITTED]
    if incomplete:
        console.print(f"The command that started the study submits these {len(incomplete)} again.")


def _states(folder: Path) -> list[TaskState]:
    try:
        return current_states(folder)
    except SlurmError as error:
        print(f"Slurm does not answer; these states are from the run folders alone: {error}", file=sys.stderr)
        return current_states(folder, ask_slurm=False)
