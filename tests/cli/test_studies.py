"""`studies`: every study in one line, with the verdict that still is of its runs, or with what is missing."""

import json
import os

import pytest

from tests import forked
from tests.compare.folders import name_of, write_run

SENTENCE = "PPO is better than RLOO by 0.800 sd of human reviews [0.777, 0.823]."  # ± 2.776 · 0.01 · √(2/3)


@pytest.fixture
def runs(tmp_path):
    """A compared study of two arms, whose question is known."""
    study = tmp_path / "runs" / "two"
    for arm, gold in (("ppo", 0.9), ("rloo", 0.1)):
        for seed in range(3):
            write_run(study, arm, seed, gold=[0.0, gold + 0.01 * seed])
    (study / ".dispatch").mkdir()
    expected = {"sweep": None, "question": "Which is better?", "runs": {}, "left": {}}
    (study / ".dispatch" / "expected_runs.json").write_text(json.dumps(expected))
    return study.parent


def line(runs, study="two"):
    """(the line for people, the entry for programs) of a study."""
    shown = forked.run(["studies"], cwd=runs.parent)
    document = forked.run(["studies", "--json"], cwd=runs.parent)
    assert shown.returncode == document.returncode == 0, shown.stderr + document.stderr
    (text,) = [text for text in shown.stdout.splitlines() if text.split()[0] == study]
    (entry,) = [one for one in json.loads(document.stdout)["studies"] if one["study"] == study]
    return text, entry


def compare(runs, *more):
    done = forked.run(["compare", "two", *more], cwd=runs.parent)
    assert done.returncode == 0, done.stderr


def test_the_verdict_is_there_until_the_runs_are_others(runs):
    text, entry = line(runs)
    assert "6 done" in text and "Which is better?" in text
    assert text.endswith("not compared yet: align_lab compare two")
    compare(runs)
    text, entry = line(runs)
    assert text.endswith(f"Which is better? {SENTENCE}") and entry["verdict"] == SENTENCE and not entry["missing"]
    assert entry["runs"] == {"done": 6}
    write_run(runs / "two", "rloo", 3, gold=[0.0, 0.1])
    assert line(runs)[0].endswith("compared before 1 run was finished: align_lab compare two")


def test_a_run_that_was_made_again_or_removed_has_no_verdict(runs):
    compare(runs)
    status = runs / "two" / name_of("ppo", 0) / "status.json"
    later = (runs / "two" / "comparison.lock").stat().st_mtime + 5
    os.utime(status, (later, later))
    assert "compared before 1 run was made again" in line(runs)[0]
    for file in status.parent.iterdir():
        file.unlink()
    status.parent.rmdir()
    assert "compared before 1 run was removed or begun again" in line(runs)[0]


def test_a_finished_run_that_the_comparison_left_out_does_not_take_the_verdict_away(runs):
    """It has no score, so it is not among the runs that were compared."""
    write_run(runs / "two", "rloo", 3, gold=[0.0, float("nan")])
    compare(runs)
    assert line(runs)[1]["verdict"] == SENTENCE
    lock = runs / "two" / "comparison.lock"
    content = json.loads(lock.read_text())
    del content["left_out"]  # a lock of an earlier version
    lock.write_text(json.dumps(content))
    assert "compared before 1 run was finished" in line(runs)[1]["missing"]


@pytest.mark.parametrize(
    ("state", "missing"),
    [
        ("failed", "1 failed, why: align_lab status two"),
        ("stopped", "1 to do: the command that started it goes on"),
    ],
)
def test_what_is_missing_is_said(runs, state, missing):
    path = write_run(runs / "two", "rloo", 3, gold=[0.0, 0.1])
    (path / "status.json").write_text(json.dumps({"state": state, "heartbeat": 1.0, "step": 3}))
    text, entry = line(runs)
    assert entry["runs"] == {"done": 6, state: 1} and text.endswith(missing)


def test_the_trials_of_a_tuned_study_are_named_as_such(runs):
    (runs / "two" / ".dispatch" / "tuning.json").write_text("{}")
    (runs / "two_tuning" / ".dispatch").mkdir(parents=True)
    assert line(runs, "two_tuning")[0].endswith("the trials of two")


def test_a_study_that_cannot_be_read_spoils_no_other(runs):
    (runs / "broken" / ".dispatch").mkdir(parents=True)
    (runs / "broken" / ".dispatch" / "expected_runs.json").write_text("{")
    assert "cannot be read: " in line(runs, "broken")[0] and "6 done" in line(runs)[0]


def test_without_a_study_it_says_how_to_begin(tmp_path):
    done = forked.run(["studies"], cwd=tmp_path)
    assert done.returncode == 0 and "To begin: align_lab algo=rloo" in done.stdout
    assert json.loads(forked.run(["studies", "--json"], cwd=tmp_path).stdout) == {"studies": []}
    assert not list(tmp_path.iterdir())
