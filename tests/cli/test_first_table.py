"""A study ends with the beginning of its comparison, whatever becomes of that."""

import io

import pytest
from rich.console import Console

from align_lab.cli import first_table
from align_lab.compare import analysis
from align_lab.compare.last_verdict import last_verdict
from align_lab.dispatch.states import TaskState
from tests.compare.folders import write_run


@pytest.fixture
def study(tmp_path):
    for arm, gold in (("ppo", 0.9), ("rloo", 0.1)):
        for seed in range(3):
            write_run(tmp_path / "two", arm, seed, gold=[0.0, gold + 0.01 * seed])
    return tmp_path / "two"


def shown(folder, *states):
    console = Console(file=io.StringIO(), width=120)
    tasks = [TaskState(name=f"r{i}", kind="run", state=state) for i, state in enumerate(states or ("done",) * 6)]
    first_table.show(folder, tasks, console)
    return console.file.getvalue()


def test_it_is_the_verdict_and_the_arms_as_compare_prints_them_first(study):
    text = shown(study)
    assert "PPO is better than RLOO by 0.800 sd of human reviews [0.777, 0.823]." in text and text.index(
        "better"
    ) < text.index("by seed")
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line[:4] in ("PPO ", "RLOO")}
    assert rows["PPO"][1:3] == ["3", "0.910"] and rows["RLOO"][1:3] == ["3", "0.110"]
    assert "Comparable:" not in text and not (study / "report.html").exists()


def test_the_verdict_that_was_shown_is_the_studys_as_if_it_had_been_compared(study):
    shown(study)
    done = [run.name for run in study.iterdir() if run.is_dir() and run.name[0] != "."]
    assert last_verdict(study, done) == ("PPO is better than RLOO by 0.800 sd of human reviews [0.777, 0.823].", "")


def test_one_arm_has_a_row_for_each_seed(tmp_path):
    for seed in range(3):
        write_run(tmp_path / "one", "ppo", seed, gold=[0.0, 0.5 + 0.1 * seed])
    rows = {line[:6].strip(): line.split() for line in shown(tmp_path / "one").splitlines()}
    assert [rows[f"seed {seed}"][2] for seed in range(3)] == ["0.50", "0.60", "0.70"]
    assert rows["mean"][1] == "0.60" and rows["mean"][-2:] == ["[0.35,", "0.85]"]


@pytest.mark.parametrize("states", [("done", "running"), ("done", "queued"), ("failed", "stopped"), ("missing",)])
def test_it_waits_until_all_have_ended_and_one_is_done(study, states):
    assert shown(study, *states) == ""


def test_a_failed_run_does_not_hide_the_others(study):
    assert "PPO is better" in shown(study, "done", "failed")


def test_a_fault_of_the_comparison_is_a_line_and_no_error(study, monkeypatch):
    def broken(*args, **named):
        raise RuntimeError("no luck\nat all")

    monkeypatch.setattr(analysis, "analyze", broken)
    assert shown(study).strip() == "The comparison cannot be shown here (RuntimeError: no luck)"
