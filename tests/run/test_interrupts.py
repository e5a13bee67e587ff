"""Ctrl-C of a run and of a study: no error, the status 75, and what is saved, also where nothing is."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from align_lab.__main__ import main
from align_lab.base.signals import stop_requests
from align_lab.config import study
from tests.run.test_runs import SMALL, environment, folder_of, interrupted, invoke, place

pytestmark = pytest.mark.nightly

__all__ = ["place"]  # a fixture

LOADING = '''
import pathlib
import time
from dataclasses import dataclass

from align_lab.base.contracts import Reward
from align_lab.base.registry import register
from align_lab.base.task import Score


@register("reward", "loading")
@dataclass(frozen=True, kw_only=True)
class Loading(Reward):
    """While the file `wait` is there, loading lasts until a signal comes."""

    def load(self, folder):
        pathlib.Path("loads").touch()
        while pathlib.Path("wait").exists():
            time.sleep(0.01)
        return self

    def score(self, examples, completions):
        return Score(total=[float(len(text)) for text in completions])
'''
OWN = (
    *(part for part in SMALL if not part.startswith(("reward.", "train.steps"))),
    "reward=loading",
    "plugins=[loading]",
    "algo=rloo",
    "train.steps=2",
)


def last(output):
    return output.splitlines()[-1]


def test_ctrl_c_in_training_is_no_error(place):
    status, output = interrupted(place, "ctrl_c", signal.SIGINT, after=5, steps=7)
    assert status == 75 and "error" not in output and "Traceback" not in output, output
    assert last(output) == "stopped after step 5, saved; the same command goes on"
    written = json.loads((folder_of(place, "ctrl_c") / "status.json").read_text())
    assert written["state"] == "stopped" and written["error"] == last(output)


def test_ctrl_c_before_the_first_step_says_that_the_start_policy_is_evaluated(place):
    status, output = interrupted(place, "at_once", signal.SIGINT, after=0)
    assert status == 75
    assert last(output) == (
        "stopped before the first step; the start policy's evaluation is saved; the same command goes on"
    )
    assert not list(folder_of(place, "at_once").glob("checkpoints/step-000001"))


def stopped_while_loading(place, words):
    """Send Ctrl-C to the command once its reward is being loaded."""
    (place / "loading.py").write_text(LOADING)
    (place / "wait").touch()
    (place / "loads").unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "align_lab", *words],
        cwd=place,
        env=environment(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.poll() is None and not (place / "loads").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output = process.communicate()[0]
    (place / "wait").unlink()
    return process.returncode, output


def test_ctrl_c_before_training_says_that_nothing_is_saved_and_later_that_something_is(place):
    words = ("study=loading", *OWN)
    status, output = stopped_while_loading(place, words)
    assert status == 75 and "error" not in output, output
    assert last(output) == "stopped before training; nothing of this run is saved yet, and the same command begins it"
    written = json.loads((folder_of(place, "loading") / "status.json").read_text())
    assert written["state"] == "stopped" and written["step"] == 0
    assert invoke(place, *words).returncode == 0
    (path,) = (place / "runs" / "loading").glob("rloo-*")
    (path / "status.json").write_text('{"state": "stopped"}')
    assert stopped_while_loading(place, words)[0] == 75
    again = json.loads((path / "status.json").read_text())
    assert again["step"] == 2
    assert again["error"] == "stopped before training went on; step 2 is saved, and the same command goes on there"


def test_ctrl_c_of_a_study_names_what_is_saved(place):
    """The second run has not begun."""
    status, output = interrupted(place, "of_two", signal.SIGINT, algo="rloo,reinforce", flags=["-m"])
    assert status == 75 and "error" not in output, output
    (seed,) = re.findall(r"-s(\d+)-", folder_of_first(place, "of_two").name)
    assert re.fullmatch(
        f"stopped; 0 of 2 runs are finished; saved: rloo seed {seed} after step [3-5]; the same command goes on",
        last(output),
    )


def folder_of_first(place, study):
    (path,) = (place / "runs" / study).glob("rloo-*")
    return path


def test_ctrl_c_of_a_study_before_training_says_that_nothing_is_saved(place):
    status, output = stopped_while_loading(place, ["-m", "study=loading_two", *OWN, "seed=0,1"])
    assert status == 75 and "error" not in output, output
    assert last(output) == (
        "stopped; 0 of 2 runs are finished; no run has a step that could be saved; the same command goes on"
    )


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["algo=rloo"], 75, "stopped while no run was at work"),
        (["compare", "x"], 130, "interrupted\n"),
    ],
)
def test_ctrl_c_while_a_command_is_read_is_no_traceback(place, words, status, message):
    """The command is interrupted where it composes its config, or looks for its study."""
    code = (
        "import os, signal, sys; from align_lab.base import errors, paths; from align_lab.config import study\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # also where a shell has started us with &
        "interrupt = lambda *args, **named: os.kill(os.getpid(), signal.SIGINT)\n"
        "from align_lab.compare import runs\n"
        "study.read = runs.runs_folder = interrupt\n"
        "from align_lab.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=place, env=dict(os.environ), capture_output=True, text=True
    )
    assert done.returncode == status and message in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_second_ctrl_c_does_not_claim_to_have_saved(capsys, monkeypatch):
    def twice(*args, **named):
        with stop_requests() as stop:
            stop.patient = True
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(study, "read", twice)
    assert main(["algo=rloo"]) == 130
    assert capsys.readouterr().err.startswith("interrupted before it could save")
