"""Whatever happens to jobs, nodes or the head: a study comes to the same end, and nothing runs twice."""

import json
import os
import signal
import threading
from contextlib import suppress

import pytest

from tests.run.test_runs import rows
from tests.slurm.conftest import Lab, until

RUN = ["algo=rloo", "train.steps=40"]
SHAPES = """# @package _global_
# Four arms that each ask for another time limit, so that each is a submission of its own.
study: headless
arms:
  a: [algo=rloo, hardware.placement.minutes=9]
  b: [algo=reinforce, hardware.placement.minutes=10]
  c: [algo=reinforce_pp, hardware.placement.minutes=11]
  d: [algo=ppo, hardware.placement.minutes=12]
hydra: {mode: MULTIRUN}
"""


def same(lab, study, undisturbed):
    """The finished run equals the undisturbed one, row by row, and did no step twice."""
    path = lab.path(study)
    assert rows(path) == undisturbed
    assert json.loads((path / "manifest.json").read_text())["spent"]["episodes"] == 40 * 16


def freeze(lab, study, step=3):
    """Stop the run's process at once, whatever it is doing: what follows finds it in the middle of its work."""
    status = lab.at_step(study, step)
    os.kill(status["pid"], signal.SIGSTOP)
    return status


@pytest.fixture(scope="module")
def limits(cluster, cache, tmp_path_factory, undisturbed):
    """Two runs that will reach their time limits, started first because a minute is the shortest limit there is."""
    lab = Lab(cluster, cache, tmp_path_factory.mktemp("limits"))
    lab.train(*RUN, "study=told", "hardware.placement.minutes=2", "hardware.placement.signal_seconds=60")
    thread = threading.Thread(target=go_on_when_told, args=(freeze(lab, "told")["pid"],))
    thread.start()
    lab.train(*RUN, "study=killed", "hardware.placement.minutes=1", "hardware.placement.signal_seconds=0")
    freeze(lab, "killed")
    yield lab
    thread.join()


def go_on_when_told(pid):
    """The signal may come up to a minute early, also before the process was frozen: then it has gone by itself."""
    until(lambda: not os.path.exists(f"/proc/{pid}") or pending(pid, signal.SIGUSR2), 150)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def test_a_requeue_continues_where_the_run_was(lab, limits, undisturbed):
    lab.train(*RUN, "study=requeued")
    status = freeze(lab, "requeued")
    lab.cluster("scontrol", "requeue", status["job"])
    until(lambda: not os.path.exists(f"/proc/{status['pid']}"), 60)
    (run,) = lab.wait("requeued")
    assert run["requeued"] == 1
    same(lab, "requeued", undisturbed)


def test_a_preempted_run_saves_goes_back_into_the_queue_and_finishes(lab, limits, undisturbed):
    lab.train(*RUN, "study=preempted", 'hardware.placement.sbatch=["--nodelist=node3","--exclusive"]')
    status = freeze(lab, "preempted")
    lab.cluster("sbatch", "-p", "high", "-w", "node3", "--exclusive", "--output=/dev/null", "--wrap", "sleep 2")
    told = lambda: "queued again" in lab.logs("preempted")  # noqa: E731  Slurm wakes a stopped process, to tell it
    until(lambda: told() or pending(status["pid"], signal.SIGUSR2, signal.SIGTERM), 60, lambda: lab.logs("preempted"))
    with suppress(ProcessLookupError):
        os.kill(status["pid"], signal.SIGCONT)
    lab.wait("preempted")
    assert "queued again (1 of at most 20)" in lab.logs("preempted")
    assert "continuing after step" in lab.logs("preempted")
    same(lab, "preempted", undisturbed)


def pending(pid, *signals):
    """Has one of the signals been sent to the process, which cannot take it while it is stopped?"""
    masks = []
    with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/status") as file:
        masks = [int(line.split()[1], 16) for line in file if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks for number in signals)


def test_a_task_of_an_array_queues_itself_again_and_leaves_its_neighbours_alone(lab, limits):
    """The last task of an array carries the whole array's id: asked for by that, all of them would start anew."""
    lab.train("-m", *RUN, "seed=0,1", "study=pair")
    until(lambda: sum(status.get("step", 0) >= 3 for status in lab.statuses("pair")) == 2, 60, lambda: lab.logs("pair"))
    by_job = {status["job"].partition("_")[2]: status for status in lab.statuses("pair")}
    for status in by_job.values():
        os.kill(status["pid"], signal.SIGSTOP)
    lab.cluster("scancel", "--signal=USR2", by_job["1"]["job"])
    until(lambda: pending(by_job["1"]["pid"], signal.SIGUSR2), 30)
    os.kill(by_job["1"]["pid"], signal.SIGCONT)
    until(lambda: "queued again (1 of at most 20)" in lab.logs("pair"), 60, lambda: lab.logs("pair"))
    os.kill(by_job["0"]["pid"], signal.SIGCONT)
    runs = {run["job"].partition("_")[2]: run["requeued"] for run in lab.wait("pair")}
    assert runs == {"0": 0, "1": 1}


def test_a_node_that_dies_loses_nothing_and_the_run_finishes_on_another(lab, limits, undisturbed):
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


def test_a_cancelled_run_stays_cancelled_until_the_same_command_is_given(lab, limits, undisturbed):
    lab.train(*RUN, "study=cancelled")
    status = freeze(lab, "cancelled")
    said = lab("cancel", "cancelled").stdout
    assert "1 of its jobs cancelled" in said
    os.kill(status["pid"], signal.SIGCONT)
    (run,) = lab.wait("cancelled", "cancelled")
    assert "queued again" not in lab.logs("cancelled").replace("not queued again", "")
    again = lab.train(*RUN, "study=cancelled").stdout
    assert "1 run, 1 to do" in again
    lab.wait("cancelled")
    same(lab, "cancelled", undisturbed)


def test_a_dead_head_neither_loses_nor_duplicates_a_job(lab, limits, tmp_path):
    """kill -9 of the command before its third submission, and right after its fourth, before it could note the id."""
    real = lab.cluster("bash", "-c", "command -v sbatch").strip()
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "sbatch").write_text(f"""#!/bin/bash
count=$(cat {tmp_path}/count 2>/dev/null || echo 0); count=$((count + 1)); echo $count > {tmp_path}/count
[ $count = 2 ] && kill -9 $PPID && exit 1
said=$({real} "$@"); status=$?
[ $count = 4 ] && kill -9 $PPID && exit 1
echo "$said"; exit $status
""")
    (fake / "sbatch").chmod(0o755)
    (lab.folder / "sweeps").mkdir()
    (lab.folder / "sweeps" / "shapes.yaml").write_text(SHAPES)
    path = f"{fake}{os.pathsep}{lab.env['PATH']}"
    for _ in range(2):
        assert lab.train("sweeps=shapes", check=False, PATH=path).returncode == -signal.SIGKILL
    done = lab.train("sweeps=shapes")
    assert "left alone" in done.stdout
    runs = lab.wait("headless")
    assert len(runs) == 4
    until(lambda: [state for _, state in lab.jobs("headless")] == ["COMPLETED"] * 4, 20, lambda: lab.jobs("headless"))


def test_a_run_told_of_its_time_limit_saves_and_goes_on(limits, undisturbed):
    limits.wait("told")
    assert "queued again (1 of at most 20)" in limits.logs("told")
    same(limits, "told", undisturbed)


def test_a_run_killed_at_its_time_limit_is_named_and_continued_by_the_same_command(limits, undisturbed):
    (run,) = limits.wait("killed", "failed", seconds=180)
    assert "reached its time limit before it could save" in run["why"]
    assert [state for _, state in limits.jobs("killed")] == ["TIMEOUT"]
    limits.train(*RUN, "study=killed")
    limits.wait("killed")
    assert "continuing after step" in limits.logs("killed")
    same(limits, "killed", undisturbed)
