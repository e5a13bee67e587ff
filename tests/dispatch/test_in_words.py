"""Runs and stages by arm, seed and kind, where a person reads; equal lines once."""

import io

from rich.console import Console

from align_lab.config import study
from align_lab.dispatch import in_words
from align_lab.dispatch.plan import Skipped
from align_lab.dispatch.states import TaskState
from align_lab.dispatch.status_table import StatusTable, skipped_lines


def test_seeds_that_follow_each_other_are_a_range():
    assert in_words.seeds([3]) == "seed 3"
    assert in_words.seeds([1, 0]) == "seeds 0, 1"
    assert in_words.seeds([0, 1, 2]) == "seeds 0, 1, 2"
    assert in_words.seeds([7, 3, 2, 1, 0]) == "seeds 0 to 3, 7"
    assert in_words.seeds([]) == ""


def test_runs_of_one_arm_and_seed_have_the_fields_in_which_they_differ():
    asked = study.read(["algo=rloo,dpo", "train.lr=1e-4,2e-4", "seed=1,2"])
    names = [run.name for run in asked.runs]
    assert in_words.runs(names, in_words.of_study(asked.runs)) == (
        "rloo train.lr=0.0001 seeds 1, 2, rloo train.lr=0.0002 seeds 1, 2, "
        "dpo train.lr=0.0001 seeds 1, 2, dpo train.lr=0.0002 seeds 1, 2"
    )
    assert in_words.runs(["somebody-else"], {}) == "somebody-else"


def test_stages_are_called_by_what_they_build():
    assert in_words.stages(["data-12ab", "sft-34cd", "sft-56ef"]) == "data, 2 x sft"


def state(name, state, why="", kind="run", **fields):
    return TaskState(name=name, kind=kind, state=state, why=why, **fields)


def printed(*tasks):
    lines = io.StringIO()
    console = Console(file=lines, width=200)
    StatusTable(console, lambda: tasks, names=None).update(now=True)
    return [line[9:] for line in lines.getvalue().splitlines()]  # without the time


def test_the_beginning_of_a_study_of_thirty_runs_is_a_line_for_each_state():
    waiting = [
        state(f"{arm}-tiny-s{seed}-{seed:08}", "queued", "not started yet", arm=arm, seed=seed)
        for arm in ("rloo", "dpo")
        for seed in range(15)
    ]
    building = state("data-19ed627404846566", "running", kind="stage")
    assert printed(building, *waiting) == [
        "running  stage data",
        "queued   30 runs: rloo seeds 0 to 14, dpo seeds 0 to 14: not started yet",
    ]


def test_a_failure_has_the_name_that_its_log_is_asked_by():
    lines = printed(state("rloo-tiny-s3-0123abcd", "failed", "no space", arm="rloo", seed=3))
    assert lines == ["failed   rloo seed 3 (rloo-tiny-s3-0123abcd): no space"]


def test_runs_are_skipped_by_arm_and_seed():
    asked = study.read(["algo=rloo", "seed=1,2"])
    skipped = [Skipped(name=run.name, state="done", why="finished") for run in asked.runs]
    assert skipped_lines(skipped, in_words.of_study(asked.runs)) == ["rloo seeds 1, 2: finished"]
