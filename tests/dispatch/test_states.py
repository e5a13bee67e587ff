"""The state of a run, from folders as jobs leave them and from Slurm's accounting."""

import json
import os
import time

import pytest

from align_lab.base import lease
from align_lab.dispatch.job_info import JobInfo, array_contains
from align_lab.dispatch.ledger import Ledger, Submission
from align_lab.dispatch.slurm import ended_jobs
from align_lab.dispatch.states import states
from tests import forked

NAME = "rloo-tiny-s3-0123abcd"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine" / NAME).mkdir(parents=True)
    ledger = Ledger.of(tmp_path / "mine")
    ledger.logs.mkdir(parents=True)
    ledger._write(submission())
    return tmp_path / "mine"


def submission(**changes):
    fields = {
        "token": "t",
        "study": "mine",
        "executor": "slurm",
        "kind": "run",
        "names": (NAME,),
        "needs": (),
        "snapshot": "",
        "snapshot_hash": "",
        "written": time.time(),
        "job_id": "7",
    }
    return Submission(**{**fields, **changes})


def write(folder, state, **fields):
    (folder / NAME / "config.yaml").touch()
    (folder / NAME / "status.json").write_text(
        json.dumps({"state": state, "heartbeat": time.time(), "step": 3, "steps": 9, "seconds_per_step": 2.0, **fields})
    )


def state_of(folder, job=None):
    expected = {NAME: {"arm": "rloo", "seed": 3, "steps": 9}}
    (run,) = [task for task in states(folder, expected, {"7": job} if job else {}) if task.name == NAME]
    return run


@pytest.mark.parametrize(
    ("slurm", "reason"),
    [
        ("TIMEOUT", "reached its time limit"),
        ("OUT_OF_MEMORY", "hardware.placement.mem_gb"),
        ("NODE_FAIL", "its node failed"),
        ("PREEMPTED", "was preempted"),
    ],
)
def test_the_reason_of_slurm_comes_with_the_field_to_change(folder, slurm, reason):
    write(folder, "running")
    run = state_of(folder, JobInfo(state=slurm, live=False))
    assert run.state == "failed" and reason in run.why


def test_a_process_that_recorded_nothing_is_described_by_its_exit_status_and_its_last_error(folder):
    write(folder, "running")
    Ledger.of(folder).log("7").write_text("step 3/9\nTraceback\nRuntimeError: no such device\nbye\n")
    run = state_of(folder, JobInfo(state="FAILED", live=False, exit_code="1:0"))
    assert "(exit status 1:0); the last line of its log: RuntimeError: no such device" in run.why and run.log.endswith(
        "7_0_log.out"
    )


def test_a_live_job_decides_whatever_its_folder_contains(folder):
    write(folder, "stopped")
    assert state_of(folder, JobInfo(state="PENDING", live=True, reason="Priority")).state == "queued"
    assert state_of(folder, JobInfo(state="PENDING", live=True, reason="Dependency")).state == "waiting"
    running = state_of(folder, JobInfo(state="RUNNING", live=True, node="node1"))
    assert running.state == "running" and running.seconds_left == 12.0 and running.node == "node1"


def test_a_finished_run_is_done_and_an_expected_one_that_never_started_is_missing(folder):
    write(folder, "done")
    assert state_of(folder, JobInfo(state="COMPLETED", live=False)).state == "done"
    (folder / NAME / "status.json").unlink()
    (folder / NAME / "config.yaml").unlink()
    Ledger.of(folder).discard(submission())
    assert state_of(folder).state == "missing"


def test_a_run_that_hung_has_failed_and_names_its_stack_traces(folder):
    write(folder, "running", phase="training")
    (folder / NAME / "stacks.txt").write_text("Timeout (0:00:01)!\n")
    run = state_of(folder)
    assert run.state == "failed" and "hung: no progress in the phase training; stack traces in" in run.why


def test_a_stage_that_was_not_started_because_its_own_stage_failed_says_so(folder):
    """A local study records the submission of what can no longer be built, and starts no process for it."""
    ledger = Ledger.of(folder)
    ledger._write(submission(token="a", kind="stage", names=("policy-00",), job_id="8"))
    late = submission(token="b", kind="stage", names=("preferences-00",), needs=("policy-00",), job_id="")
    ledger._write(late)
    found = {task.name: task for task in states(folder, {}, {"8": JobInfo(state="OUT_OF_MEMORY", live=False)})}
    assert found["preferences-00"].state == "failed"
    assert found["preferences-00"].why.startswith("its stage policy-00 failed: ran out of memory")


def test_a_stage_that_nobody_builds_explains_a_cancelled_run(folder):
    Ledger.of(folder)._write(submission(needs=("sft-00",)))
    run = state_of(folder, JobInfo(state="CANCELLED", live=False))
    assert run.state == "failed" and "its stage sft-00 was not built" in run.why


def test_an_expected_run_is_queued_only_while_a_command_will_start_it(folder):
    Ledger.of(folder).discard(submission())
    (folder / ".dispatch" / "lease").write_text(
        json.dumps({"pid": os.getpid(), "host": "here", "where": lease.where()})
    )
    assert state_of(folder).state == "queued"
    (unexpected,) = states(folder, {NAME: {}}, {})  # reconcile asks like this, while its own command holds the lease
    assert unexpected.state == "missing"


def test_a_submission_names_the_job_of_each_task():
    assert submission(job_id=None).ids() == {} and submission(job_id=None).unconfirmed
    assert submission(names=("a", "b")).ids() == {"a": "7_0", "b": "7_1"}
    assert submission(token="x").job_name == "mine.x"


def test_without_accounting_nothing_is_known_of_ended_jobs(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert ended_jobs({"1"}) == {}


def test_without_slurm_the_message_names_the_alternatives(tmp_path):
    env = {**os.environ, "PATH": "/nowhere"}
    done = forked.run(["algo=rloo", "hardware=slurm_gpu"], cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert "hardware=slurm_gpu needs sbatch on the PATH" in done.stderr
    assert "use hardware=cpu or hardware=gpu" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("tasks", "inside"), [("12_[0-4%5]", [0, 4]), ("12_[1,3-4]", [1, 3, 4]), ("12_[7]", [7])])
def test_a_range_of_array_tasks_contains_each_of_them(tasks, inside):
    assert all(array_contains(tasks, f"12_{index}") for index in inside)
    assert not array_contains(tasks, "12_8") and not array_contains(tasks, "13_1") and not array_contains(tasks, "12")
