"""The job that takes a look, without a cluster: its study is the command's, and a look that is taken is left alone."""

import json
import os
from dataclasses import replace

import pytest

from align_lab.base.errors import AlignLabError
from align_lab.base.lease import lease
from align_lab.config import study
from align_lab.dispatch import look
from align_lab.record.layout import StudyLayout
from align_lab.studies import look_job, look_study, seed_steps

PLAN = "seeds={first: 3, most: 5, step: 1, smallest: 0.001, hopeless: 0}"
COMMAND = ["algo=rloo,raft", "study=steps", "hardware=slurm_cpu", PLAN]


@pytest.fixture
def asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return study.read(COMMAND)


def payload(asked):
    """What the job of the first look receives, through its file."""
    arms = {arm: [run for run in asked.runs if run.choices["algo"] == arm] for arm in ("rloo", "raft")}
    first = asked.runs[0]
    more = look_study.described(asked, arms, asked.seed_plan)
    task = {"name": "look-3", "kind": "look", "values": dict(first.values), "choices": dict(first.choices), **more}
    return json.loads(json.dumps(task))


def record(place):
    return json.loads(StudyLayout(place / "runs" / "steps").look("look-3").read_text())


@pytest.mark.parametrize("varied", [[], ["vary=[rl,reward,policy]"]])
def test_the_study_of_the_job_is_that_of_the_command(varied):
    """Also where a seed moves what the runs start from."""
    asked = study.read([*COMMAND, *varied])
    again = look_study.study_of(payload(asked))
    assert [run.name for run in again.runs] == [run.name for run in asked.runs]
    assert (again.name, again.seed_plan, again.settings.control) == ("steps", asked.seed_plan, "")


def test_the_tuned_study_of_the_job_is_that_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = study.read([*COMMAND, "tune={trials: 2}", "budget.episodes=64", "question=which"])
    task = json.loads(json.dumps(look_study.described_tuning(asked)))
    again = look_study.study_of(task)
    assert [run.signature for run in again.runs] == [run.signature for run in asked.runs]
    assert again == replace(asked, settings=replace(asked.settings, wait=False))


def test_a_look_that_another_process_takes_is_left_to_it(asked, tmp_path, capsys):
    layout = StudyLayout(tmp_path / "runs" / "steps")
    with lease(layout.looks_lease, on_wait=pytest.fail):
        assert look_job.take(payload(asked), patience=0) == 0
    said = f"process {os.getpid()}"
    assert said in record(tmp_path)["outcome"] and "this look is left to it" in capsys.readouterr().out
    assert not layout.seed_plan.exists()


def test_a_command_is_refused_while_another_process_takes_the_look(asked, tmp_path):
    taken = lease(StudyLayout(tmp_path / "runs" / "steps").looks_lease, on_wait=pytest.fail)
    with taken, pytest.raises(AlignLabError, match="is at work on the study steps: it decides"):
        seed_steps.run(asked)


@pytest.mark.parametrize("path", ["/nowhere"])
def test_a_look_that_cannot_submit_says_what_to_do(asked, tmp_path, monkeypatch, path):
    monkeypatch.setenv("PATH", path)
    with pytest.raises(AlignLabError, match="sbatch"):
        look_job.take(payload(asked), patience=0)
    ended = record(tmp_path)
    assert ended["state"] == "failed" and "typed again, goes on from here" in ended["error"]


def test_looks_are_jobs_only_where_all_runs_go_to_the_cluster(asked):
    assert look.possible(asked.runs)
    assert not look.possible(study.read([*COMMAND[:2], "hardware=cpu"]).runs)
    assert not look.possible(study.read([*COMMAND, "hardware.placement.look_job=false"]).runs)
