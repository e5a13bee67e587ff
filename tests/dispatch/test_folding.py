"""Of thousands of runs `status` shows lines that a person can read."""

import io

from rich.console import Console

from align_lab.dispatch.failed_stages import said_once
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


def test_the_reason_of_a_failed_stage_stands_once_with_the_number_of_its_runs():
    """A run that needs a stage which needs it counts too; what failed for another reason keeps its own."""
    gone = "DataError: no such model"
    policy = TaskState(name="policy-00", kind="stage", state="failed", why=gone)
    pairs = TaskState(name="preferences-00", kind="stage", state="failed", why=f"its stage policy-00 failed: {gone}")
    direct = runs(3, state="failed", why=f"its stage policy-00 failed: {gone}")
    behind = TaskState(name="dpo-s0", kind="run", state="failed", why=f"its stage preferences-00 failed: {pairs.why}")
    other = TaskState(name="ppo-s0", kind="run", state="failed", why="no space")
    shown = said_once([policy, pairs, *direct, behind, other])
    assert [task.why for task in shown] == [
        f"{gone} (4 runs of the study need it)",
        "its stage policy-00 failed",
        *3 * ["its stage policy-00 failed"],
        "its stage preferences-00 failed",
        "no space",
    ]
    assert [count for _, count in folded(shown[2:5])] == [2]
    assert said_once([direct[0]]) == [direct[0]]  # alone it says why
    console = Console(file=io.StringIO(), width=200)
    console.print(table([policy, pairs, *direct, behind, other]))
    assert console.file.getvalue().count("no such model") == 1


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
