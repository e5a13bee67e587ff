"""What a study on this machine ends with: the beginning of its comparison, or its seeds where it has one arm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from align_lab.dispatch.state_rules import ACTIVE
from align_lab.dispatch.states import TaskState
from align_lab.record.layout import StudyLayout
from align_lab.record.terminal import escape

MOST = 200  # runs: a comparison of more takes longer than somebody wants to wait who did not ask for it


def show(folder: Path, tasks: Sequence[TaskState], console: Console) -> None:
    """Print the table where every run has ended, and at least one is done. Whatever it meets, the study has ended: the
    reason is printed in its place."""
    runs = [task for task in tasks if task.kind == "run"]
    if len(runs) > MOST or any(task.state in ACTIVE for task in runs) or not any(task.state == "done" for task in runs):
        return
    try:
        _show(folder, console)
    except Exception as error:  # also a fault of the comparison itself: the exit status is that of the runs
        reason = escape(f"{type(error).__name__}: {error}".splitlines()[0])
        console.print(f"[yellow]The comparison cannot be shown here[/] ({reason})", soft_wrap=True)


def _show(folder: Path, console: Console) -> None:
    """The verdict that is shown is locked as that of `compare` is, so that `studies` knows it."""
    from align_lab.compare import lock, terminal
    from align_lab.compare.analysis import analyze

    document = analyze([folder])
    console.print()
    for part in terminal.beginning(document):
        console.print(part, soft_wrap=False)
    if document["comparability"]["fair"]:
        lock.write(document, [folder], place=StudyLayout(folder).dispatch)
