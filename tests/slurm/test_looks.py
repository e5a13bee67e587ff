"""Seeds in steps on a real cluster: each look is a job that reads, decides and submits what comes next."""

import json
import os
import signal
import subprocess
from collections import Counter

import pytest

from tests.slurm.conftest import PATIENCE, until

pytestmark = pytest.mark.nightly

PLAN = "seeds={first: 3, most: 5, step: 1, smallest: 0.001, hopeless: 0}"
ARMS = ("-m", "algo=rloo,raft", PLAN)
SLOW = ("train.steps=40",)  # long enough to be found at work
REFUSING = """#!/bin/bash
[ -n "$ON_NODE" ] && echo "sbatch: error: Access denied: no submission from $ON_NODE" >&2 && exit 1
exec {sbatch} "$@"
"""
WAITING = """#!/bin/bash
while [ -n "$ON_NODE" ] && [ -e {hold} ]; do touch {arrived}; sleep 0.2; done
exec {sbatch} "$@"
"""


def train(lab, study, *more, **options):
    return lab.train(*ARMS, f"study={study}", "train.steps=1", *more, hardware="slurm_cpu", **options)


def looks(lab, study):
    return {name: task for name, task in lab.states(study).items() if task["kind"] == "look"}


def ended(lab, study, seeds, state="done"):
    """Wait until the look at so many seeds is in this state."""
    until(
        lambda: looks(lab, study).get(f"look-{seeds}", {}).get("state") == state,
        lambda: (looks(lab, study), lab.logs(study)),
    )
    return looks(lab, study)[f"look-{seeds}"]


def submissions(lab, study):
    """The ledger of runs and looks."""
    files = (lab.folder / "runs" / study / ".dispatch").glob("*.submission.json")
    return [one for one in (json.loads(file.read_text()) for file in files) if one["kind"] != "stage"]


def submitted(lab, study):
    """Name of a run or look -> how often it was submitted."""
    return Counter(name for one in submissions(lab, study) for name in one["names"])


def through(lab, script, **places):
    """A setup line that puts another sbatch before the real one, on the nodes alone."""
    folder = lab.folder / "bin"
    folder.mkdir()
    real = lab.cluster("bash", "-c", "command -v sbatch").strip()
    (folder / "sbatch").write_text(script.format(sbatch=real, **places))
    (folder / "sbatch").chmod(0o755)
    return f"hardware.placement.setup=['export PATH={folder}:$PATH ON_NODE=$SLURMD_NODENAME']"


def held_at_sbatch(lab, study):
    """A study whose first look waits at sbatch until the file is gone: its placement, and the file."""
    hold, arrived = lab.folder / "hold", lab.folder / "arrived"
    hold.touch()
    waiting = through(lab, WAITING, hold=hold, arrived=arrived)
    train(lab, study, waiting)
    until(arrived.exists, lambda: lab.logs(study))
    return waiting, hold


def test_a_study_that_was_submitted_once_goes_on_to_its_end(lab):
    first = train(lab, "alone").stdout
    assert "The look at 3 seeds is job" in first and "Nothing has to stay logged in" in first
    waiting = looks(lab, "alone")["look-3"]
    assert waiting["state"] in ("waiting", "queued", "running", "done")
    last = ended(lab, "alone", 5)
    assert "ended after 10 of at most 10 runs (seeds: rloo 5, raft 5)" in last["why"]
    assert len(lab.wait("alone")) == 10
    counts = submitted(lab, "alone")
    assert len(counts) == 13 and set(counts.values()) == {1}  # ten runs and three looks, no seed twice
    shown = lab("status", "alone").stdout
    assert "look-5 done: The study has ended after 10" in " ".join(shown.split()) and "look-3" not in shown
    resources = lab.cluster("sacct", "-nXP", "--format=JobName,ReqMem,Timelimit,NCPUS").splitlines()
    small = [line for line in resources if line.startswith("alone.") and line.endswith("2G|00:15:00|1")]
    assert len(small) == 3
    assert "ended after 10" in train(lab, "alone").stdout


def test_cancel_ends_runs_and_look_and_the_same_command_goes_on(lab):
    train(lab, "cancelled", *SLOW)
    until(lambda: any(one.get("step", 0) >= 2 for one in lab.statuses("cancelled")), lambda: lab.logs("cancelled"))
    said = lab("cancel", "cancelled").stdout
    assert "look-3" in said
    until(lambda: "cancelled." not in lab.cluster("squeue", "-h", "-o", "%j"), lambda: lab.jobs("cancelled"))
    assert looks(lab, "cancelled")["look-3"]["state"] == "cancelled"
    assert set(looks(lab, "cancelled")) == {"look-3"}
    again = train(lab, "cancelled", *SLOW).stdout
    assert "The look at 3 seeds is job" in again
    ended(lab, "cancelled", 5)
    assert len(lab.wait("cancelled")) == 10


def test_where_jobs_may_not_submit_status_says_so_and_the_command_goes_on_by_hand(lab):
    refusing = through(lab, REFUSING)
    train(lab, "refused", refusing)
    why = ended(lab, "refused", 3, "failed")["why"]
    assert "sbatch refused" in why and "no submission from node" in why
    assert "typed again, goes on from here" in why and "hardware.placement.look_job=false" in why
    assert "no submission from node" in " ".join(lab("status", "refused").stdout.split())
    train(lab, "refused", refusing)
    ended(lab, "refused", 4, "failed")
    by_hand = train(lab, "refused", "hardware.placement.look_job=false").stdout
    assert "2 runs, 2 to do" in by_hand and "is job" not in by_hand and "the same command goes on" in by_hand
    lab.wait("refused")
    assert "ended after 10 of at most 10" in train(lab, "refused", "hardware.placement.look_job=false").stdout
    assert set(submitted(lab, "refused").values()) == {1}


def test_a_failed_run_is_not_submitted_again_by_a_look(lab):
    wrong = ("train.lr=1e30", "train.max_grad_norm=.inf", "train.warmup_steps=0", "train.steps=3")
    train(lab, "failing", *wrong)
    why = ended(lab, "failing", 3, "failed")["why"]
    assert "waits for rloo seed 0, 1, 2; raft seed 0, 1, 2" in why
    assert set(submitted(lab, "failing").values()) == {1}


def test_a_plan_that_was_edited_is_refused_by_the_look(lab):
    train(lab, "edited", *SLOW)
    until(lambda: any(one.get("step", 0) >= 2 for one in lab.statuses("edited")), lambda: lab.logs("edited"))
    path = lab.folder / "runs" / "edited" / ".dispatch" / "seed_plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "levels": [0.5, 0.5, 0.5]}))
    assert "not as the study wrote it" in ended(lab, "edited", 3, "failed")["why"]
    assert len(lab.runs("edited")) == 6


def test_of_two_that_take_a_look_one_does_and_the_other_says_so(lab):
    """A look's job is at sbatch when the command is typed again, and when its job is started a second time."""
    waiting, hold = held_at_sbatch(lab, "race")
    typed = train(lab, "race", waiting, check=False)
    assert typed.returncode == 2 and "is at work on the study race" in typed.stderr
    second = subprocess.Popen(
        job_of(lab, "race", "look-3"), cwd=lab.folder, env=lab.env, stdout=subprocess.PIPE, text=True
    )
    hold.unlink()
    said, _ = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0, said
    ended(lab, "race", 5)
    assert len(lab.wait("race")) == 10
    assert {count for name, count in submitted(lab, "race").items() if not name.startswith("look")} == {1}


def test_a_look_that_was_killed_is_taken_by_the_same_command(lab):
    waiting, hold = held_at_sbatch(lab, "killed_look")
    os.kill(
        json.loads((lab.folder / "runs/killed_look/.dispatch/looks/look-3.json").read_text())["pid"], signal.SIGKILL
    )
    until(lambda: looks(lab, "killed_look")["look-3"]["state"] == "failed", lambda: looks(lab, "killed_look"))
    hold.unlink()
    train(lab, "killed_look", waiting)
    ended(lab, "killed_look", 5)
    assert len(lab.wait("killed_look")) == 10
    assert {count for name, count in submitted(lab, "killed_look").items() if not name.startswith("look")} == {1}


def test_a_tuned_study_that_was_submitted_once_goes_on_from_its_trials_to_its_end(lab):
    """Killed while the trials run, the job that reads them is the same one."""
    tuned = ("tune={trials: 2, seeds: [100]}", "seeds=[0, 1]", "study=tuned", "train.steps=1")
    first = lab.train("-m", "algo=rloo,raft", *tuned, hardware="slurm_cpu").stdout
    assert "The tuning goes on with job" in first and "Nothing has to stay logged in" in first
    again = lab.train("-m", "algo=rloo,raft", *tuned, hardware="slurm_cpu", check=False)
    until(lambda: looks(lab, "tuned").get("tuning-2", {}).get("state") == "done", lambda: lab.logs("tuned"))
    assert again.returncode in (0, 2)  # 2: the job was at work already
    until(lambda: len(lab.runs("tuned")) == 4, lambda: (lab.states("tuned"), lab.logs("tuned")))
    assert len(lab.wait("tuned")) == 4
    counts = submitted(lab, "tuned") + submitted(lab, "tuned_tuning")
    assert len(counts) == 4 + 4 + 1 and set(counts.values()) == {1}
    record = json.loads((lab.folder / "runs" / "tuned" / ".dispatch" / "tuning.json").read_text())
    assert {arm: len(trials) for arm, trials in record["trials"].items()} == {"rloo": 2, "raft": 2}


def test_a_trial_that_failed_is_not_submitted_again_by_the_job_that_reads_it(lab):
    wrong = ("tune={trials: 2, seeds: [100], space: {rloo: {train.lr: [1e-4, 2e-4]}, raft: {train.lr: [1e-4, 2e-4]}}}",
             "seeds=[0, 1]", "study=tuned_failing", "hang_minutes=0.0001", "train.steps=3")  # fmt: skip
    lab.train("-m", "algo=rloo,raft", *wrong, hardware="slurm_cpu")
    until(lambda: looks(lab, "tuned_failing")["tuning-2"]["state"] == "failed", lambda: lab.logs("tuned_failing"))
    why = looks(lab, "tuned_failing")["tuning-2"]["why"]
    assert "waits for 4 runs of trials" in why and "the same command goes on" in why
    assert set(submitted(lab, "tuned_failing_tuning").values()) == {1}


def job_of(lab, study, name):
    """The command of a look's job."""
    (found,) = [one for one in submissions(lab, study) if one["names"] == [name]]
    tasks = lab.folder / "runs" / study / ".dispatch" / f"{found['token']}.tasks.jsonl"
    python, program = lab.command()[0], "align_lab.studies.look_job"
    path = f"PYTHONPATH={found['snapshot']}"
    return ["env", path, python, "-P", "-m", program, str(tasks), found["snapshot"], found["snapshot_hash"]]
