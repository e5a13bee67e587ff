"""Requeues count towards their limit only where the rounds between them brought nothing."""

import json

import pytest

from align_lab.base.errors import DataError
from align_lab.dispatch import job, slurm
from align_lab.dispatch.job import read_task
from align_lab.dispatch.rounds import Rounds
from align_lab.record.layout import StudyLayout

NAME = "rloo-tiny-s1-0123abcd"


@pytest.fixture
def rounds(tmp_path):
    (tmp_path / "mine" / NAME).mkdir(parents=True)
    return Rounds(tmp_path / "mine", NAME)


def reach(rounds, step):
    (rounds.study / NAME / "status.json").write_text(json.dumps({"step": step}))


def test_a_run_that_gets_further_in_every_round_is_requeued_for_ever(rounds):
    for requeued in range(50):
        assert rounds.begin(requeued) == 0
        reach(rounds, requeued + 1)
        assert rounds.fruitless() == 0


def test_rounds_without_a_step_are_counted_until_one_brings_a_step(rounds):
    reach(rounds, 4)
    assert rounds.begin(0) == 0 and rounds.fruitless() == 1
    assert rounds.begin(1) == 1 and rounds.begin(2) == 2 and rounds.fruitless() == 3
    reach(rounds, 5)
    assert rounds.fruitless() == 0
    assert rounds.begin(3) == 0


def test_a_job_that_was_submitted_anew_counts_from_the_beginning(rounds):
    rounds.begin(0)
    assert rounds.begin(1) == 1
    assert rounds.begin(0) == 0


def test_a_task_of_an_array_never_takes_the_line_of_another(tmp_path):
    """Without its index, which some sites and flags keep from it, a job that took the first line would train run 0."""
    tasks = tmp_path / "t.jsonl"
    tasks.write_text('{"name": "a"}\n{"name": "b"}\n')
    assert read_task(tasks, "1") == {"name": "b"}
    with pytest.raises(DataError, match="SLURM_ARRAY_TASK_ID is not in its environment"):
        read_task(tasks, None)
    with pytest.raises(DataError, match="has only 2 tasks"):
        read_task(tasks, "2")
    tasks.write_text('{"name": "a"}\n')
    assert read_task(tasks, None) == {"name": "a"}


@pytest.mark.parametrize(
    ("shown", "seconds"),
    [("2:05", 125), ("1:02:03", 3723), ("2-00:00:10", 172810), ("UNLIMITED", None), ("INVALID", None), ("", None)],
)
def test_the_time_that_a_job_has_left_is_read_from_the_queue(tmp_path, monkeypatch, shown, seconds):
    (tmp_path / "squeue").write_text(f"#!/bin/sh\necho '{shown}'\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert slurm.seconds_left("12") == seconds


@pytest.mark.parametrize(("left", "requeued"), [("1:30", False), ("2:00:00", True)])
def test_a_stage_that_its_time_limit_ended_asks_for_more_time(tmp_path, monkeypatch, left, requeued):
    """It has no checkpoints, and would reach the limit again; after a preemption it has time left."""
    (tmp_path / "squeue").write_text(f"#!/bin/sh\necho '{left}'\n")
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@" >> "$0.called"; echo JobState=RUNNING\n')
    for name in ("squeue", "scontrol"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    task = {"name": "sft-00", "kind": "stage", "values": {"study": "mine"}, "max_requeues": 20, "signal_seconds": 120}
    record = StudyLayout(tmp_path / "runs" / "mine").stage("sft-00")
    record.parent.mkdir(parents=True)
    record.write_text('{"state": "stopped", "error": "Stopped: before training started"}')
    job._go_on_later({"job": "12", "requeued": 0}, task)
    asked = (tmp_path / "scontrol.called").read_text() if (tmp_path / "scontrol.called").exists() else ""
    assert ("requeue 12" in asked) is requeued
    assert ("raise hardware.placement.minutes" in json.loads(record.read_text())["error"]) is not requeued
