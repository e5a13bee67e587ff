"""The watchdog ends a process that makes no progress, however it is blocked, and none that was only stopped."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from align_lab.run import watchdog, watchdog_clock

PROGRAM = """
import ctypes, os, sys, time
from pathlib import Path
from align_lab.run.watchdog import watched

def in_c(seconds):
    ctypes.PyDLL(None).sleep(seconds)  # it keeps the interpreter's lock: no Python thread runs

with watched(Path(sys.argv[1]), minutes=float(sys.argv[2]) / 60) as watch:
    watch.beat("training")
    print(watch.clock.pid, flush=True)
    eval(sys.argv[3])
"""


@pytest.fixture
def started(tmp_path):
    """Starts PROGRAM: (process, its clock's process id, the file for its stacks)."""
    running = []

    def start(seconds, action):
        stacks = tmp_path / "stacks.txt"
        command = [sys.executable, "-c", PROGRAM, str(stacks), str(seconds), action]
        process = subprocess.Popen(command, **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE), text=True)
        running.append(process)
        return process, int(process.stdout.readline()), stacks

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("action", ["time.sleep(600)", "in_c(600)"])
def test_a_process_that_hangs_dumps_its_stacks_and_ends(started, action):
    process, _, stacks = started(0.2, action)
    _, said = process.communicate()
    assert process.returncode == -watchdog.SIGNAL
    assert watchdog.hung(stacks) and 'File "<string>"' in stacks.read_text()
    assert "hung: no progress in the phase training; stack traces in" in said and str(stacks) in said


def test_a_process_that_ends_in_time_leaves_no_file_and_no_clock(started):
    process, clock, stacks = started(600, "None")
    process.communicate()
    assert process.returncode == 0 and not stacks.exists() and not watchdog.hung(stacks)
    with pytest.raises(ProcessLookupError):
        os.kill(clock, 0)


@pytest.mark.parametrize("both", [True, False])
def test_a_process_that_was_stopped_for_longer_than_its_time_goes_on(started, both):
    """As `scontrol suspend` and Ctrl-Z do. It ends when it reads a line, which is there when it goes on."""
    process, clock, stacks = started(6, "sys.stdin.readline()")
    stopped = [process.pid, clock] if both else [process.pid]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(8)
    process.stdin.write("\n")
    process.stdin.flush()
    for pid in stopped:
        with suppress(ProcessLookupError):  # the process goes on, and may have ended its clock already
            os.kill(pid, signal.SIGCONT)
    _, said = process.communicate()
    assert process.returncode == 0 and not stacks.exists(), said


def test_a_clock_that_somebody_killed_is_replaced_at_the_next_beat(started):
    action = (
        "(watch.clock.kill(), watch.clock.wait(), watch.beat('stages'), print(watch.clock.pid), watch.clock.poll())"
    )
    process, clock, _ = started(600, action)
    assert int(process.stdout.readline()) != clock  # `communicate` would lose what the first readline has taken
    process.communicate()
    assert process.returncode == 0


def test_only_time_in_which_both_could_run_is_counted(monkeypatch):
    """Three seconds are allowed, and nine pass in one tick, because the clock itself was stopped."""
    passing, clock = iter(["beat", 9.0, "beat", 1.0, 1.0, 1.0]), {"now": 0.0, "ended": []}

    def select(*args):
        event = next(passing)
        if event == "beat":
            return [0], [], []
        clock["now"] += event
        return [], [], []

    monkeypatch.setattr(watchdog_clock.select, "select", select)
    monkeypatch.setattr(watchdog_clock.time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(watchdog_clock.os, "read", lambda *args: b"3 training\n")
    monkeypatch.setattr(watchdog_clock.os, "kill", lambda *args: clock["ended"].append(args))
    monkeypatch.setattr(watchdog_clock, "stopped", lambda pid: False)
    watchdog_clock.main(os.getppid(), 7, "stacks.txt")
    assert clock["ended"] == [(os.getppid(), 7)] and clock["now"] == 9.0 + 3.0 and next(passing, None) is None
