"""Slurm's answers as they were recorded: what is read from them, and what of the environment reaches its commands."""

import time

import pytest

from align_lab.base.hardware import Placement
from align_lab.dispatch import slurm
from align_lab.dispatch.batch_script import variables_of_sbatch
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.pending_reasons import WHAT_TO_DO, explained
from align_lab.dispatch.slurm_commands import SlurmAway, SlurmError, environment, outside_of_job, patient, run

SHOWN = (
    "JobId=7 ArrayJobId=7 ArrayTaskId=2-4%5 ArrayTaskThrottle=5 JobName=mine.t UserId=a(1) JobState=PENDING "
    "Reason=Priority Dependency=(null) ExitCode=0:0 ReqNodeList=(null) NodeList=(null)\n"
    "JobId=8 ArrayJobId=7 ArrayTaskId=1 JobName=mine.t JobState=RUNNING Reason=None ExitCode=0:0 "
    "ReqNodeList=node9 NodeList=node3\n"
)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Programs with these names and outputs in place of Slurm's."""

    def put(**texts):
        for name, text in texts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path

    return put


def says(text):
    return f"cat <<'END'\n{text}END"


def names(*tasks):
    return {f"7_{task}": "mine.t" for task in tasks}


def test_a_task_that_only_the_controller_knows_is_live(cluster):
    """The queue came from a cache, and the accounting has not heard of the job."""
    cluster(squeue="exit 0", sacct="exit 0", scontrol=says(SHOWN))
    found = slurm.query(names(0, 1, 3))
    assert {job: (info.state, info.live) for job, info in found.items()} == {
        "7_1": ("RUNNING", True),
        "7_3": ("PENDING", True),
    }
    assert found["7_1"].node == "node3" and found["7_3"].reason == "Priority"


def test_a_job_that_the_accounting_alone_believes_to_run_has_ended(cluster):
    """A record that was never closed: the controller has forgotten the job."""
    cluster(
        squeue="exit 0",
        sacct=says("7_1|RUNNING|0:0|node1|mine.t\n"),
        scontrol="echo Invalid job id specified >&2; exit 1",
    )
    assert not slurm.query(names(1))["7_1"].live


def test_jobs_of_another_name_are_not_ours(cluster):
    cluster(
        squeue=says("7_0|PENDING||theirs|Priority\n"), sacct=says("7_1|COMPLETED|0:0|node1|theirs\n"), scontrol="exit 0"
    )
    assert slurm.query(names(0, 1)) == {}


def test_an_answer_that_is_cut_off_is_no_answer(cluster):
    cluster(squeue=says("7_0|PENDING|\n"), sacct="exit 0")
    with pytest.raises(SlurmError, match="cannot be read"):
        slurm.query(names(0))


def test_a_controller_that_is_away_for_a_while_is_asked_again(cluster, monkeypatch):
    """Whoever waits for the answer gets it; whoever does not is told at once."""
    away = 'echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1'
    folder = cluster(squeue=f'if [ -e "$0.back" ]; then echo 5; else touch "$0.back"; {away}; fi')
    with pytest.raises(SlurmAway, match="Unable to contact"):
        run("squeue")
    (folder / "squeue.back").unlink()
    monkeypatch.setattr("align_lab.dispatch.slurm_commands.FIRST_PAUSE", 0.01)
    with patient(600):
        assert run("squeue").strip() == "5"


def test_a_refusal_is_not_asked_again(cluster):
    folder = cluster(squeue='echo x >> "$0.asked"; echo "slurm_load_jobs error: Access denied" >&2; exit 1')
    with patient(600), pytest.raises(SlurmError, match="Access denied"):
        run("squeue")
    assert (folder / "squeue.asked").read_text() == "x\n"


def test_what_a_job_has_in_its_environment_stays_in_it(monkeypatch):
    inside = {
        "SLURM_JOB_ID": "5",
        "SLURM_MEM_PER_CPU": "50",
        "SLURM_CONF": "/etc/slurm.conf",
        "SLURMD_NODENAME": "n",
        "PMIX_RANK": "0",
        "RANK": "0",
        "CUDA_VISIBLE_DEVICES": "3",
        "SQUEUE_STATES": "RUNNING",
        "SBATCH_ACCOUNT": "mine",
        "HOME": "/home/a",
    }
    assert environment(inside) == {"SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "mine", "HOME": "/home/a"}
    assert environment({"CUDA_VISIBLE_DEVICES": "3"}) == {"CUDA_VISIBLE_DEVICES": "3"}
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    with outside_of_job():
        assert "SLURM_JOB_ID" not in __import__("os").environ
    assert __import__("os").environ["SLURM_JOB_ID"] == "5"


def test_defaults_of_sbatch_hold_where_the_placement_leaves_the_choice():
    env = {"SBATCH_ACCOUNT": "mine", "SBATCH_PARTITION": "p", "SBATCH_EXPORT": "NONE", "SBATCH_WAIT": "1", "HOME": "h"}
    left = variables_of_sbatch(env, Placement(executor="slurm", partition="high"))
    assert left == {"SBATCH_ACCOUNT": "mine", "HOME": "h"}
    assert "SBATCH_ACCOUNT" not in variables_of_sbatch(env, Placement(executor="slurm", sbatch=["--account=other"]))


@pytest.mark.parametrize("reason", ["None", "", "(null)"])
def test_no_reason_is_no_text(reason):
    assert explained(reason, "5") == ""


def test_usual_reasons_stay_as_they_are_and_others_say_what_to_do():
    assert explained("Priority", "5") == "Priority" and explained("Resources", "5") == "Resources"
    assert explained("JobHeldUser", "5_3").endswith("scontrol release 5_3")
    for shown in ("launch failed requeued held", "launch_failed_requeued_held"):
        assert "hardware.placement.exclude" in explained(shown, "5")
    assert "as many jobs" in explained("QOSMaxSubmitJobPerUserLimit", "5")
    assert "QOS is reached" in explained("AssocGrpGRES", "5")
    assert all(text for _, text in WHAT_TO_DO)


PROGRAM = "10:00:00 step 3/9  score 0.1  about 4 s left\n"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (PROGRAM, ""),
        (
            "submitit INFO (2026-11-25 10:00:00,123) - Starting with JobEnvironment\n10:00:01 building data set\n",
            "",
        ),
        (PROGRAM + "srun: error: node1: task 0: Killed\nsrun: Terminating StepId=12.0\n", ""),
        (
            PROGRAM + "srun: error: Unable to create step for job 5: Step requested GRES but job doesn't have GRES\n",
            "srun: error: Unable to create step for job 5: Step requested GRES but job doesn't have GRES",
        ),
        (
            "RuntimeError: no such device\nsrun: error: node1: task 0: Exited with exit code 1\n",
            "RuntimeError: no such device",
        ),
        ("slurmstepd: error: *** STEP 12.0 ON node1 CANCELLED AT 2026 ***\n", ""),
        (
            "python: command not found\nsrun: error: node1: task 0: Exited with exit code 127\n",
            "python: command not found",
        ),
    ],
)
def test_the_reason_in_a_log_is_an_error_and_neither_progress_nor_that_it_ended(tmp_path, log, reason):
    ledger = Ledger(tmp_path)
    ledger.logs.mkdir()
    ledger.log("12").write_text(log)
    assert ledger.last_line("12") == reason


def test_the_age_of_a_submission_is_that_of_its_file_whatever_the_clock_of_the_other_head(tmp_path):
    from tests.dispatch.test_states import submission

    ledger = Ledger(tmp_path)
    early = submission(written=time.time() - 7200)  # written by a machine whose clock is two hours behind
    ledger._write(early)
    assert ledger.age(early) < 3600
