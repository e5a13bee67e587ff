"""What `status` says of a run, from folders as jobs leave them and from what Slurm remembers."""

import json
import os
import subprocess
import sys
import time

import pytest

from align_lab.dispatch.ledger import Card, Ledger
from align_lab.dispatch.slurm import Fact, _ended, covers
from align_lab.dispatch.states import states

NAME = "rloo-tiny-s3-0123abcd"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine" / NAME).mkdir(parents=True)
    ledger = Ledger.of(tmp_path / "mine")
    ledger.logs.mkdir(parents=True)
    ledger._write(card())
    return tmp_path / "mine"


def card(**changes):
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
    return Card(**{**fields, **changes})


def write(folder, state, **fields):
    (folder / NAME / "config.yaml").touch()
    (folder / NAME / "status.json").write_text(
        json.dumps({"state": state, "heartbeat": time.time(), "step": 3, "steps": 9, "seconds_per_step": 2.0, **fields})
    )


def state_of(folder, fact=None):
    wanted = {NAME: {"arm": "rloo", "seed": 3, "steps": 9}}
    (found,) = [task for task in states(folder, wanted, {"7": fact} if fact else {}) if task.name == NAME]
    return found


@pytest.mark.parametrize(
    ("slurm", "said"),
    [
        ("TIMEOUT", "reached its time limit"),
        ("OUT_OF_MEMORY", "hardware.placement.mem_gb"),
        ("NODE_FAIL", "its node failed"),
        ("PREEMPTED", "was preempted"),
    ],
)
def test_how_slurm_ended_a_job_is_said_with_what_to_set(folder, slurm, said):
    write(folder, "running")
    found = state_of(folder, Fact(state=slurm, live=False))
    assert found.state == "failed" and said in found.why


def test_a_process_that_ended_without_a_word_is_named_with_its_exit_and_its_last_line(folder):
    write(folder, "running")
    Ledger.of(folder).log("7").write_text("step 3/9\nTraceback\nRuntimeError: no such device\nbye\n")
    found = state_of(folder, Fact(state="FAILED", live=False, exit="1:0"))
    assert "(exit 1:0): RuntimeError: no such device" in found.why and found.log.endswith("7_0_log.out")


def test_a_live_job_counts_whatever_its_folder_says(folder):
    write(folder, "stopped")
    assert state_of(folder, Fact(state="PENDING", live=True, reason="Priority")).state == "queued"
    assert state_of(folder, Fact(state="PENDING", live=True, reason="Dependency")).state == "waiting"
    running = state_of(folder, Fact(state="RUNNING", live=True, node="node1"))
    assert running.state == "running" and running.seconds_left == 12.0 and running.node == "node1"


def test_a_finished_run_is_done_and_a_wanted_one_that_never_was_is_missing(folder):
    write(folder, "done")
    assert state_of(folder, Fact(state="COMPLETED", live=False)).state == "done"
    (folder / NAME / "status.json").unlink()
    (folder / NAME / "config.yaml").unlink()
    Ledger.of(folder).void(card())
    assert state_of(folder).state == "missing"


def test_a_run_that_hung_is_named_with_its_stacks(folder):
    write(folder, "running", phase="training")
    (folder / NAME / "stacks.txt").write_text("Timeout (0:00:01)!\n")
    found = state_of(folder)
    assert found.state == "failed" and "hung: no progress in the phase training" in found.why


def test_an_artefact_that_failed_elsewhere_explains_a_cancelled_run(folder):
    Ledger.of(folder)._write(card(needs=("sft-00",)))
    found = state_of(folder, Fact(state="CANCELLED", live=False))
    assert found.state == "failed" and "its stage sft-00 was not built" in found.why


def test_cards_without_an_id_are_known_as_open(folder):
    assert card(job_id=None).ids() == {}
    assert card(names=("a", "b")).ids() == {"a": "7_0", "b": "7_1"}
    assert card(token="x").job_name == "mine.x"


def test_a_cluster_without_accounting_tells_nothing_of_ended_jobs(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert _ended({"1"}) == {}


def test_without_slurm_the_message_says_what_to_use_instead(tmp_path):
    env = {**os.environ, "PATH": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-m", "align_lab", "algo=rloo", "hardware=slurm_gpu"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert (
        "hardware=slurm_gpu needs sbatch on the PATH" in done.stderr
        and "use hardware=cpu or hardware=gpu" in done.stderr
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("many", "inside"), [("12_[0-4%5]", [0, 4]), ("12_[1,3-4]", [1, 3, 4]), ("12_[7]", [7])])
def test_tasks_that_slurm_lists_together_are_known_one_by_one(many, inside):
    assert all(covers(many, f"12_{index}") for index in inside)
    assert not covers(many, "12_8") and not covers(many, "13_1") and not covers(many, "12")
