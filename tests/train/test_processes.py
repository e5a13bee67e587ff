"""A run of several processes, through the command line: one record, forwarded signals, one error message."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from align_lab.base.hardware import Placement
from align_lab.run import processes
from tests.run.test_runs import command, environment, folder_of, place, rows, run  # noqa: F401  `place` is a fixture

pytestmark = pytest.mark.nightly

STEPS = "train.steps=30"  # enough for a signal to come in between
AT_ONCE = 900  # seconds, on the slowest machine
TWO = ["hardware=cpu_2proc", "hardware.numerics.dtype=float64", "algo=rloo"]
BREAKS = """
import os
from dataclasses import dataclass
from align_lab.algos.rloo import RLOO
from align_lab.base.registry import param, register

CALLS = []

@register("algo", "breaks")
@dataclass(frozen=True, kw_only=True)
class Breaks(RLOO):
    '''Breaks in the second process.'''

    def loss(self, now, x):
        CALLS.append(1)
        if os.environ.get("RANK") == "1" and len(CALLS) == 3:
            raise ValueError("there is no sign")
        return super().loss(now, x)
"""


ENGINES = {"torch": [], "fsdp": ["hardware.numerics.engine=fsdp"]}


@pytest.fixture(scope="module")
def alone(place):  # noqa: F811
    done = run(place, "algo=rloo", "hardware.numerics.dtype=float64", "study=alone", STEPS)
    assert done.returncode == 0, done.stderr
    return rows(folder_of(place, "alone"))


def same(path, alone):
    for a, b in zip(rows(path), alone, strict=True):
        assert a == pytest.approx(b, abs=1e-6)


def test_a_study_runs_several_of_them_at_a_time_and_each_leaves_the_record_of_one(place, alone):  # noqa: F811
    done = run(place, "-m", *TWO, "seed=0,1", "study=many", "parallel=2", STEPS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 runs are finished" in done.stdout
    (first,) = (place / "runs" / "many").glob("rloo-tiny-s0-*")
    same(first, alone)
    again = run(place, *TWO, "study=many", STEPS)
    assert again.returncode == 0 and "this run is finished" in again.stdout


def start_run(place, study, *fields, after=3):  # noqa: F811
    """Start a run of two processes in a process group of its own, and wait until it has logged step `after`."""
    process = subprocess.Popen(
        command(*TWO, f"study={study}", *fields),
        cwd=place,
        env=environment(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None:
        logs = list((place / "runs" / study).glob("*/metrics.jsonl"))
        if logs and logs[0].read_text().count("\n") > after:
            return process
        time.sleep(0.005)
    raise AssertionError(process.communicate()[0])


def ranks(process):
    """The process ids of the run, in the order of their ranks."""
    family = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    spawned = [pid for pid in family.stdout.split() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return [int(pid) for pid in sorted(spawned, key=int)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["to the terminal's group", "to one of them"])
def test_a_signal_saves_one_checkpoint_and_the_same_command_resumes_the_run(place, alone, how, engine):  # noqa: F811
    study = f"{engine}_{how}".replace(" ", "_").replace("'", "")
    process = start_run(place, study, STEPS, *ENGINES[engine])
    if how == "to the terminal's group":
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(ranks(process)[1], signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == 75, output
    assert output.count("the same command goes on") == 1 and "Traceback" not in output
    assert output.count("step 3/30") == 1 and "cpu x 2 processes" in output
    path = folder_of(place, study)
    assert json.loads((path / "status.json").read_text())["state"] == "stopped"
    # one process resumes what two have saved: the placement is not part of a run's name
    done = run(place, "algo=rloo", "hardware.numerics.dtype=float64", f"study={study}", STEPS, *ENGINES[engine])
    assert done.returncode == 0 and "continuing after step" in done.stdout, done.stderr
    same(path, alone)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_run_at_once_and_is_named(place, rank):  # noqa: F811
    """The other process would wait for it for half an hour, torch's limit of a collective."""
    process = start_run(place, f"killed{rank}", "train.steps=4000", "evaluation.every=1000")
    os.kill(ranks(process)[rank], signal.SIGKILL)
    output = process.communicate(timeout=AT_ONCE)[0]
    assert process.returncode == 1 and f"process {rank} of 2 was killed by SIGKILL" in output, output
    path = folder_of(place, f"killed{rank}")
    status = json.loads((path / "status.json").read_text())
    assert status["state"] == "failed" and f"process {rank} of 2 was killed" in status["error"]
    assert (path / "error.log").read_text().startswith(f"process {rank} of 2 was killed by SIGKILL")


def test_an_error_of_one_process_ends_all_with_its_traceback(place):  # noqa: F811
    (place / "breaks.py").write_text(BREAKS)
    (place / "conf" / "algo").mkdir(parents=True)
    (place / "conf" / "algo" / "breaks.yaml").write_text("defaults:\n  - /schema/algo/breaks@_here_\n  - _self_\n")
    done = run(
        place, "hardware=cpu_2proc", "plugins=[breaks]", "algo=breaks", "study=broken", PYTHONPATH=path_with(place)
    )
    assert done.returncode == 1
    message = "process 1 of 2: ValueError: there is no sign"
    assert done.stderr.count(message) == 1, done.stderr
    assert "Traceback" not in done.stderr
    path = folder_of(place, "broken")
    log = (path / "error.log").read_text()
    assert log.startswith(message) and "Traceback" in log and "breaks.py" in log
    assert "closed" not in log
    status = json.loads((path / "status.json").read_text())
    assert status["state"] == "failed" and status["error"].startswith(message)


def path_with(folder):
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


def test_a_process_that_is_already_one_of_several_starts_no_others(monkeypatch):
    placement = Placement(executor="local", tasks_per_node=4)
    assert processes.to_start(placement) == 4
    assert processes.to_start(Placement(executor="slurm", tasks_per_node=4)) == 1
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert processes.to_start(placement) == 1


def test_processes_whose_start_is_killed_do_not_stay(place):  # noqa: F811
    """They are importing, and no handler of signals is there; without an end, they would look for a store for days."""
    process = subprocess.Popen(
        command(*TWO, "study=unborn"), cwd=place, env=environment(place), stdout=subprocess.PIPE, text=True
    )
    while len(begun := ranks(process)) < 2:
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.communicate()
    end = time.monotonic() + AT_ONCE
    while any(map(alive, begun)):
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pid):
    """Is it a process that has not ended?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
