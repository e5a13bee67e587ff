"""`align_lab status STUDY`: the state of every run, from any shell, at any time."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from align_lab.base import answer
from align_lab.base.signals import stop_requests
from align_lab.cli.arguments import Arguments
from align_lab.compare.runs import study_folder
from align_lab.dispatch import broken_nodes, expected_runs, run_rows, status_table
from align_lab.dispatch.launch import current_states
from align_lab.dispatch.slurm_commands import SlurmError
from align_lab.dispatch.states import TaskState
from align_lab.record.layout import StudyLayout
from align_lab.record.terminal import Terminal, escape

RESUBMITTED = ("failed", "stopped", "missing", "cancelled")  # what the command that started the study submits again


def status(args: Sequence[str]) -> int:
    """Each arm and seed with state, step, score, speed, time left and node; for a failure its reason and its log."""
    parser = Arguments(
        prog="align_lab status",
        description="The state of every run of a study, and the reason of every failure.",
    )
    parser.add_argument("study", metavar="STUDY", help="name of a folder under runs/, or a path")
    parser.add_argument("--watch", action="store_true", help="refresh every two seconds, until all runs have ended")
    options = parser.parse_args(args)
    folder, console = study_folder(options.study), Terminal(soft_wrap=True)
    tasks = states_of(folder)
    if options.watch:
        _watch(folder, console)
        tasks = states_of(folder)
    trials = trials_of(folder)
    answer.give(document(folder, tasks, trials))
    _print(folder, tasks, trials, console)
    return 0


def document(folder: Path, tasks: Sequence[TaskState], trials: Mapping[str, int]) -> dict[str, Any]:
    """What `status --json` says of a study, and every command that runs one."""
    return {
        "study": folder.name,
        "question": expected_runs.read(folder)["question"],
        "tasks": [asdict(task) for task in tasks],
        "trials": dict(trials),
        "results": [asdict(one) for one in run_rows.results(tasks)],
        "broken_nodes": broken_nodes.failures(folder),
    }


def _watch(folder: Path, console: Console) -> None:
    """Also the runs that a look adds meanwhile."""
    with (
        stop_requests() as stop,
        status_table.StatusTable(console, lambda: current_states(folder), names=None) as table,
    ):
        stop.patient = True
        table.wait_until_ended(stop)


def _print(folder: Path, tasks: Sequence[TaskState], trials: Mapping[str, int], console: Console) -> None:
    expected = expected_runs.read(folder)
    console.print(f"[bold]{escape(folder.name)}[/] {escape(expected['question'])}")
    if trials:
        listed = ", ".join(f"{count} {state}" for state, count in trials.items())
        console.print(f"Its trials: {listed}: align_lab status {escape(StudyLayout(folder).trials.name)}")
    if tasks:
        console.print(status_table.table(tasks), soft_wrap=False)
    elif trials:
        console.print("It holds no runs yet: they begin when it is tuned.")
    else:
        console.print(f"It holds no runs. Start one: align_lab study={escape(folder.name)} algo=rloo")
    if line := broken_nodes.line(folder):
        console.print(escape(line))
    if expected["left"]:
        console.print(f"No longer in the sweep file: {escape(', '.join(expected['left']))}")
    if found := run_rows.results(tasks):
        console.print(escape(run_rows.results_line(folder.name, found)))
    incomplete = [task for task in tasks if task.kind == "run" and task.state in RESUBMITTED]
    if incomplete:
        console.print(f"The command that started the study submits these {len(incomplete)} again.")


def trials_of(folder: Path) -> dict[str, int]:
    """How many trials of its tuning are in each state; empty where it is not tuned."""
    trials = StudyLayout(folder).trials
    return dict(Counter(task.state for task in states_of(trials) if task.kind == "run")) if trials.is_dir() else {}


def states_of(folder: Path) -> list[TaskState]:
    """The tasks of a study; from its folders alone, and said so, where Slurm does not answer."""
    try:
        return current_states(folder)
    except SlurmError as error:
        print(f"Slurm does not answer; these states are from the run folders alone: {error}", file=sys.stderr)
        return current_states(folder, ask_slurm=False)
