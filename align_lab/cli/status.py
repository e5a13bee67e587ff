"""`python -m align_lab status STUDY` and `cancel STUDY`: from any shell, at any time."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from align_lab.base import lease
from align_lab.base.signals import stop_requests
from align_lab.compare.runs import study_folder
from align_lab.dispatch import expected_runs, slurm, status_table
from align_lab.dispatch.launch import look_at
from align_lab.dispatch.ledger import Card, Ledger
from align_lab.dispatch.slurm import SlurmError
from align_lab.dispatch.states import ACTIVE, TaskState
from align_lab.record.layout import RunLayout, StudyLayout


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
    tasks = _look(folder)
    if options.json:
        meant = expected_runs.read(folder)
        print(
            json.dumps({"study": folder.name, "question": meant["question"], "tasks": [asdict(task) for task in tasks]})
        )
        return 0
    if options.watch:
        names = {task.name for task in tasks}
        with (
            stop_requests() as stop,
            status_table.StatusTable(console, lambda: look_at(folder), names=names) as shown,
        ):
            stop.patient = True
            shown.until_ended(stop)
        tasks = _look(folder)
    show(folder, tasks, console)
    return 0


def show(folder: Path, tasks: Sequence[TaskState], console: Console) -> None:
    meant = expected_runs.read(folder)
    console.print(f"[bold]{escape(folder.name)}[/] {escape(meant['question'])}")
    console.print(status_table.table(tasks), soft_wrap=False)
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
    left = expected_runs.read(folder)["left"]
    tasks = [task for task in look_at(folder) if task.state in ACTIVE and (not options.left or task.name in left)]
    cards = Ledger.of(folder).cards()
    queued = {job for card in cards if card.executor == "slurm" for job in card.ids().values()}
    there = [task for task in tasks if task.job in queued]
    Ledger.of(folder).mark_cancelled([task.job for task in there])
    slurm.cancel(_in_few_words([task.job for task in there if task.kind == "run"], cards))
    slurm.cancel([task.job for task in there if task.kind == "stage" and task.job not in slurm.awaited()])
    stopped = there + _stop_here(folder, [task for task in tasks if task not in there], console)
    console.print(
        f"{escape(folder.name)}: {len(stopped)} of its jobs cancelled"
        + ("" if tasks else ", none was queued or running")
    )
    for task in stopped:
        console.print(f"  {escape(task.name)}")
    return 0


def _in_few_words(jobs: Sequence[str], cards: Sequence[Card]) -> list[str]:
    """Ids for scancel: an array by its own id where all that lives of it goes."""
    whole = {card.job_id for card in cards if card.array and card.job_id and set(card.ids().values()) <= set(jobs)}
    return [*whole, *(job for job in jobs if job.partition("_")[0] not in whole)]


def _look(folder: Path) -> list[TaskState]:
    try:
        return look_at(folder)
    except SlurmError as error:
        print(f"Slurm does not answer, this is what the folders say: {error}", file=sys.stderr)
        return look_at(folder, ask=False)


def _stop_here(folder: Path, tasks: Sequence[TaskState], console: Console) -> list[TaskState]:
    """Ask this machine's processes to save and stop: the command that runs the sweep, which asks all of its runs; else each run."""
    if tasks and _terminate(StudyLayout(folder).lease):
        return list(tasks)
    found = [task for task in tasks if _terminate(RunLayout(folder / task.name).lease)]
    for task in tasks:
        if task not in found:
            console.print(f"[yellow]{escape(task.name)} runs on {escape(task.node)}: cancel it there[/]")
    return found


def _terminate(held: Path) -> bool:
    """SIGTERM to the process of this machine that holds the lease; False where there is none."""
    with suppress(OSError, ValueError, KeyError):
        owner = json.loads(held.read_text())
        if owner["where"] == lease.where() and not lease.stale(held):
            os.kill(owner["pid"], signal.SIGTERM)
            return True
    return False
