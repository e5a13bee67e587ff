"""`python -m align_lab status STUDY` and `cancel STUDY`: from any shell, at any time."""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from align_lab.compare.runs import study_folder
from align_lab.dispatch import board, slurm, wanted
from align_lab.dispatch.launch import look_at
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.slurm import SlurmError
from align_lab.dispatch.states import ACTIVE, TaskState
from align_lab.signals import stop_requests


def status(args: Sequence[str]) -> int:
    """Each arm and seed with state, step, score, speed, time left, node; for a failure its reason and its log."""
    parser = argparse.ArgumentParser(
        prog="python -m align_lab status", description="What the runs of a study are doing."
    )
    parser.add_argument("study", help="name of a folder under runs/, or a path")
    parser.add_argument("--watch", action="store_true", help="look again every two seconds, until all have ended")
    parser.add_argument("--json", action="store_true", help="print the states for scripts")
    options = parser.parse_args(args)
    folder, console = study_folder(options.study), Console(highlight=False, soft_wrap=True)
    cluster = _asks_slurm(folder)
    tasks = _look(folder, cluster, console)
    if options.json:
        meant = wanted.read(folder)
        print(
            json.dumps({"study": folder.name, "question": meant["question"], "tasks": [asdict(task) for task in tasks]})
        )
        return 0
    if options.watch:
        names = {task.name for task in tasks}
        with (
            stop_requests() as stop,
            board.Board(console, lambda: look_at(folder, cluster=cluster), names=names) as shown,
        ):
            stop.patient = True
            shown.until_ended(stop)
        tasks = _look(folder, cluster, console)
    show(folder, tasks, console)
    return 0


def show(folder: Path, tasks: Sequence[TaskState], console: Console) -> None:
    meant = wanted.read(folder)
    console.print(f"[bold]{escape(folder.name)}[/] {escape(meant['question'])}")
    console.print(board.table(tasks), soft_wrap=False)
    if meant["left"]:
        console.print(f"No longer in the sweep file: {escape(', '.join(meant['left']))}")
    again = [
        task for task in tasks if task.kind == "run" and task.state in ("failed", "stopped", "missing", "cancelled")
    ]
    if again:
        console.print(f"The command that started the study submits these {len(again)} again.")


def cancel(args: Sequence[str]) -> int:
    """Cancel what is queued or running. Finished runs stay, and so do checkpoints: the same command goes on from them."""
    parser = argparse.ArgumentParser(prog="python -m align_lab cancel", description="Cancel the jobs of a study.")
    parser.add_argument("study", help="name of a folder under runs/, or a path")
    parser.add_argument("--left", action="store_true", help="only runs that have left the sweep file")
    options = parser.parse_args(args)
    folder, console = study_folder(options.study), Console(highlight=False, soft_wrap=True)
    cluster = _asks_slurm(folder)
    left = wanted.read(folder)["left"]
    tasks = [
        task
        for task in look_at(folder, cluster=cluster)
        if task.state in ACTIVE and (not options.left or task.name in left)
    ]
    here = [task for task in tasks if not (cluster and task.job in _slurm_jobs(folder))]
    slurm.cancel([task.job for task in tasks if task not in here])
    for task in here:
        _terminate(folder, task)
    console.print(
        f"{escape(folder.name)}: {len(tasks)} of its jobs cancelled" + ("" if tasks else ", none was queued or running")
    )
    for task in tasks:
        console.print(f"  {escape(task.name)}")
    return 0


def _asks_slurm(folder: Path) -> bool:
    """Is there anything to ask Slurm about, and can it be asked here?"""
    return slurm.here() and any(card.executor == "slurm" for card in Ledger.of(folder).cards())


def _slurm_jobs(folder: Path) -> set[str]:
    return {job for card in Ledger.of(folder).cards() if card.executor == "slurm" for job in card.ids().values()}


def _look(folder: Path, cluster: bool, console: Console) -> list[TaskState]:
    try:
        return look_at(folder, cluster=cluster)
    except SlurmError as error:
        console.print(f"[yellow]Slurm does not answer, this is what the folders say: {escape(str(error))}[/]")
        return look_at(folder, cluster=False)


def _terminate(folder: Path, task: TaskState) -> None:
    """Ask a process of this machine to save and stop."""
    with suppress(OSError, ValueError, KeyError):
        owner = json.loads((folder / f".{task.name}.lease").read_text())
        os.kill(owner["pid"], signal.SIGTERM)
