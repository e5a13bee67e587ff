"""Of thousands of runs `status` shows lines that a person can read."""

import io

from rich.console import Console

from align_lab.dispatch.slurm_commands import SlurmError
from align_lab.dispatch.states import TaskState
from align_lab.dispatch.status_table import MANY, StatusTable, folded, table


def runs(count, state="cancelled", why="cancelled", **fields):
    return [
        TaskState(
            name=f"rloo-s{i}-{i:04}", kind="run", state=state, why=why, arm="rloo", seed=i, job=f"7_{i}", **fields
        )
        for i in range(count)
    ]


def test_many_tasks_in_one_state_for_one_reason_are_one_line():
    tasks = runs(5000)
    assert folded(tasks) == [(tasks[0], 4999)]
    few = runs(MANY)
    assert folded(few) == [(task, 0) for task in few]
    other = runs(1, why="no space")
    assert folded([*tasks, *other]) == [(tasks[0], 4999), (other[0], 0)]


def test_reasons_that_name_their_own_job_are_one_line_too():
    held = [
        TaskState(name=f"r{i}", kind="run", state="queued", why=f"held: scontrol release 7_{i}", job=f"7_{i}")
        for i in range(3)
    ]
    assert folded(held) == [(held[0], 2)]


def test_two_values_of_one_algorithm_are_two_rows_that_differ():
    twins = [
        TaskState(name=f"rloo-tiny-s1-{hash}", kind="run", state="done", arm="rloo", seed=1)
        for hash in ("0123abcd", "4567cdef")
    ]
    console = Console(file=io.StringIO(), width=160)
    console.print(table(twins))
    shown = console.file.getvalue()
    assert "rloo 0123abcd" in shown and "rloo 4567cdef" in shown


def test_an_outage_is_said_once_and_so_is_its_end():
    answers = iter([SlurmError("no answer"), SlurmError("no answer"), SlurmError("no answer"), [], []])

    def fetch():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    console = Console(file=io.StringIO(), width=160)
    shown = StatusTable(console, fetch, names=None)
    for _ in range(5):
        shown.update(now=True)
    text = console.file.getvalue()
    assert text.count("no answer") == 1 and text.count("Slurm answers again") == 1
