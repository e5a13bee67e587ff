"""Whatever happens to jobs, nodes or the submitting command: a study ends the same, and nothing runs twice."""

import json
import os
import signal
import threading
import time
from contextlib import suppress

import pytest

from tests.run.test_runs import rows
from tests.slurm.conftest import Lab, until

pytestmark = pytest.mark.nightly

RUN = ["algo=rloo", "train.steps=40"]
SHAPES = """# @package _global_
# Four arms with four time limits, so that each is a submission of its own.
study: killed_command
arms:
  a: [algo=rloo, hardware.placement.minutes=9]
  b: [algo=reinforce, hardware.placement.minutes=10]
  c: [algo=reinforce_pp, hardware.placement.minutes=11]
  d: [algo=ppo, hardware.placement.minutes=12]
hydra: {mode: MULTIRUN}
"""


def same(lab, study, undisturbed):
    """The finished run equals the undisturbed one, row by row, and repeated no step."""
    path = lab.path(study)
    assert rows(path) == undisturbed
    assert json.loads((path / "manifest.json").read_text())["spent"]["episodes"] == 40 * 16


def freeze(lab, study, step=3):
    """Stop the run's process at once, in the middle of its work."""
    status = lab.at_step(study, step)
    os.kill(status["pid"], signal.SIGSTOP)
    return status


@pytest.fixture(scope="module")
def limits(cluster, cache, tmp_path_factory, undisturbed):
    """Two runs that will reach their time limits, started first because that takes minutes.

    The limits are whole minutes, of which a slow machine may need one to begin.
    """
    lab = Lab(cluster, cache, tmp_path_factory.mktemp("limits"))
    lab.train(*RUN, "study=signaled", "hardware.placement.minutes=3", "hardware.placement.signal_seconds=60")
    thread = threading.Thread(target=continue_on_signal, args=(freeze(lab, "signaled")["pid"],))
    thread.start()
    lab.train(*RUN, "study=killed", "hardware.placement.minutes=2", "hardware.placement.signal_seconds=0")
    freeze(lab, "killed")
    yield lab
    thread.join()


def continue_on_signal(pid):
    """The signal may come up to a minute early: if it came before the process was frozen, the process has ended."""
    until(lambda: not os.path.exists(f"/proc/{pid}") or pending(pid, signal.SIGUSR2))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def test_a_requeue_continues_where_the_run_was(lab, limits, undisturbed):
    lab.train(*RUN, "study=requeued")
    status = freeze(lab, "requeued")
    lab.cluster("scontrol", "requeue", status["job"])
    until(lambda: not os.path.exists(f"/proc/{status['pid']}"))
    (run,) = lab.wait("requeued")
    assert run["requeued"] == 1
    same(lab, "requeued", undisturbed)


def test_a_preempted_run_saves_is_requeued_and_finishes(lab, limits, undisturbed):
    lab.train(*RUN, "study=preempted", 'hardware.placement.sbatch=["--exclusive"]')
    status = freeze(lab, "preempted")
    mine = ["-p", "high", "-w", status["node"], "--exclusive"]
    lab.cluster("sbatch", *mine, "--output=/dev/null", "--wrap", "sleep 2")
    requeued = lambda: "requeued (" in lab.logs("preempted")  # noqa: E731  Slurm continues a stopped process
    until(lambda: requeued() or pending(status["pid"], signal.SIGUSR2, signal.SIGTERM), lambda: lab.logs("preempted"))
    with suppress(ProcessLookupError):
        os.kill(status["pid"], signal.SIGCONT)
    lab.wait("preempted")
    assert "requeued (1; at most 20 without progress)" in lab.logs("preempted")
    assert "continuing after step" in lab.logs("preempted")
    same(lab, "preempted", undisturbed)


def pending(pid, *signals):
    """Is one of the signals pending for the process, which cannot handle it while it is stopped?"""
    masks = []
    with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/status") as file:
        masks = [int(line.split()[1], 16) for line in file if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks for number in signals)


def test_an_array_task_requeues_itself_and_no_other_task(lab, limits):
    """The last task of an array has the array's own id as SLURM_JOB_ID: requeued by that, all tasks would restart."""
    lab.train("-m", *RUN, "seed=0,1", "study=pair")
    until(lambda: sum(status.get("step", 0) >= 3 for status in lab.statuses("pair")) == 2, lambda: lab.logs("pair"))
    by_job = {status["job"].partition("_")[2]: status for status in lab.statuses("pair")}
    for status in by_job.values():
        os.kill(status["pid"], signal.SIGSTOP)
    lab.cluster("scancel", "--signal=USR2", by_job["1"]["job"])
    until(lambda: pending(by_job["1"]["pid"], signal.SIGUSR2))
    os.kill(by_job["1"]["pid"], signal.SIGCONT)
    until(lambda: "requeued (1; at most 20 without progress)" in lab.logs("pair"), lambda: lab.logs("pair"))
    os.kill(by_job["0"]["pid"], signal.SIGCONT)
    runs = {run["job"].partition("_")[2]: run["requeued"] for run in lab.wait("pair")}
    assert runs == {"0": 0, "1": 1}


def test_a_run_of_a_dead_node_finishes_on_another_node(lab, limits, undisturbed):
    lab.train(*RUN, "study=lost", 'hardware.placement.sbatch=["--exclude=node1"]')
    status = freeze(lab, "lost")
    number = status["node"].removeprefix("node")
    lab.cluster.script("kill-node", number)
    try:
        (run,) = lab.wait("lost")
    finally:
        lab.cluster.script("start-node", number)
    assert lab.status("lost")["node"] != status["node"] and run["requeued"] == 1
    same(lab, "lost", undisturbed)


def test_a_run_that_was_suspended_for_longer_than_its_patience_goes_on(lab, limits, undisturbed):
    lab.train(*RUN, "study=suspended", "hang_minutes=0.3")
    status = lab.at_step("suspended", 3)
    lab.cluster("scontrol", "suspend", status["job"])
    time.sleep(25)  # while nothing of the job runs
    lab.cluster("scontrol", "resume", status["job"])
    (run,) = lab.wait("suspended")
    assert run["requeued"] == 0
    same(lab, "suspended", undisturbed)


def test_a_cancelled_run_stays_cancelled_until_the_same_command_runs_again(lab, limits, undisturbed):
    lab.train(*RUN, "study=cancelled")
    status = freeze(lab, "cancelled")
    assert "1 of its jobs cancelled" in lab("cancel", "cancelled").stdout
    with suppress(ProcessLookupError):  # a frozen process is killed after a while (KillWait)
        os.kill(status["pid"], signal.SIGCONT)
    (run,) = lab.wait("cancelled", "cancelled")
    assert "requeued (" not in lab.logs("cancelled")
    again = lab.train(*RUN, "study=cancelled").stdout
    assert "1 run, 1 to do" in again
    lab.wait("cancelled")
    same(lab, "cancelled", undisturbed)


def test_a_killed_command_neither_loses_nor_duplicates_a_job(lab, limits, tmp_path):
    """kill -9 before its second sbatch, then right after its fourth, before the job id could be recorded."""
    real = lab.cluster("bash", "-c", "command -v sbatch").strip()
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "sbatch").write_text(f"""#!/bin/bash
count=$(cat {tmp_path}/count 2>/dev/null || echo 0); count=$((count + 1)); echo $count > {tmp_path}/count
[ $count = 2 ] && kill -9 $PPID && exit 1
output=$({real} "$@"); status=$?
[ $count = 4 ] && kill -9 $PPID && exit 1
echo "$output"; exit $status
""")
    (fake / "sbatch").chmod(0o755)
    (lab.folder / "sweeps").mkdir()
    (lab.folder / "sweeps" / "shapes.yaml").write_text(SHAPES)
    path = f"{fake}{os.pathsep}{lab.env['PATH']}"
    for _ in range(2):
        assert lab.train("sweeps=shapes", check=False, PATH=path).returncode == -signal.SIGKILL
    done = lab.train("sweeps=shapes")
    assert "skipped: " in done.stdout
    runs = lab.wait("killed_command")
    assert len(runs) == 4
    until(
        lambda: [state for _, state in lab.jobs("killed_command")] == ["COMPLETED"] * 4,
        lambda: lab.jobs("killed_command"),
    )


def test_a_run_that_gets_the_signal_before_its_time_limit_saves_and_continues(limits, undisturbed):
    limits.wait("signaled")
    assert "requeued (1; at most 20 without progress)" in limits.logs("signaled")
    same(limits, "signaled", undisturbed)


def test_a_run_killed_at_its_time_limit_has_failed_and_the_same_command_continues_it(limits, undisturbed):
    (run,) = limits.wait("killed", "failed")
    assert "reached its time limit before it could save" in run["why"]
    assert [state for _, state in limits.jobs("killed")] == ["TIMEOUT"]
    limits.train(*RUN, "study=killed")
    limits.wait("killed")
    assert "continuing after step" in limits.logs("killed")
    same(limits, "killed", undisturbed)
