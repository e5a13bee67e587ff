"""A study whose seeds come in steps, through the command line: looks, an interruption, another plan, a failed run."""

import json
import shutil

import pytest

from tests.run.test_runs import invoke, place, run

__all__ = ["place"]  # a fixture

PLAN = "seeds={first: 3, most: 5, step: 1, smallest: 0.001, hopeless: 0}"
COMMAND = ("-m", "algo=rloo,raft", "study=steps", "train.steps=1", "parallel=2")


def compared(place, *options):
    return invoke(place, "compare", "steps", "--no-page", *options)


def runs(place, study="steps"):
    return sorted(path.name for path in (place / "runs" / study).glob("[!.]*") if path.is_dir())


@pytest.fixture(scope="module")
def done(place):
    """A study that takes every look, because nothing may be given up and the gap worth seeing is tiny."""
    first = run(place, *COMMAND, PLAN)
    assert first.returncode == 0, first.stderr + first.stdout
    return first.stdout


def test_every_look_gets_its_seeds_and_the_last_one_ends_the_study(place, done):
    assert "looks at 3, 4, 5 seeds an arm; at most 10 runs" in done
    counts = [line.removeprefix("steps: ")[:14] for line in done.splitlines() if " to do" in line]
    assert counts == ["6 runs, 6 to d", "2 runs, 2 to d", "2 runs, 2 to d"]
    assert "ended after 10 of at most 10 runs (seeds: rloo 5, raft 5)" in done and len(runs(place)) == 10


def test_the_same_command_goes_on_where_runs_are_missing_and_does_not_repeat_one_that_diverged(place, done):
    name, other = (next(one for one in runs(place) if one.startswith(start)) for start in ("raft-tiny-s1", "rloo"))
    shutil.rmtree(place / "runs" / "steps" / name)
    status = place / "runs" / "steps" / other / "status.json"
    before = status.read_text()
    status.write_text(json.dumps({**json.loads(before), "state": "failed", "error": "DivergedError: nan"}))
    again = run(place, *COMMAND, PLAN)
    status.write_text(before)
    assert again.returncode == 0 and "steps: 1 run, 1 to do" in again.stdout and name in runs(place)
    assert "ended after 10 of at most 10 runs" in again.stdout
    nothing = run(place, *COMMAND, PLAN)
    assert nothing.returncode == 0 and "to do" not in nothing.stdout


def test_another_plan_is_refused_with_the_difference(place, done):
    other = run(place, *COMMAND, PLAN.replace("most: 5", "most: 6"), "train.lr=1e-4")
    assert other.returncode == 2 and "begun with another plan" in other.stderr
    assert "seeds.most: 5, now 6" in other.stderr and "arm rloo: its recipe is another one" in other.stderr
    assert "study=NAME" in other.stderr and len(runs(place)) == 10


def test_compare_decides_by_the_plan_alone(place, done):
    shown = compared(place)
    assert shown.returncode == 0 and "repeated Welch t intervals" in " ".join(shown.stdout.split())
    assert "looks at 3, 4, 5 seeds an arm were planned" in " ".join(shown.stdout.split())
    assert compared(place, "--paired").returncode == 2
    assert "Leave --control=rloo out" in compared(place, "--control=rloo").stderr


def test_a_plan_file_that_was_edited_is_refused(place, done):
    path = place / "runs" / "steps" / ".dispatch" / "seed_plan.json"
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "levels": [0.5, 0.5, 0.5]}))
    try:
        assert "not as the study wrote it" in run(place, *COMMAND, PLAN).stderr
        assert "not as the study wrote it" in compared(place).stderr
    finally:
        path.write_text(before)


def test_a_failed_run_is_what_the_next_look_waits_for(place):
    wrong = ("train.lr=1e30", "train.max_grad_norm=.inf", "train.warmup_steps=0", "train.steps=3")
    failed = run(place, "-m", "algo=rloo,raft", "study=failing", "parallel=2", PLAN, *wrong)
    assert failed.returncode == 1 and "not finite" in failed.stdout
    assert "The next look waits for rloo seed 0, 1, 2; raft seed 0, 1, 2" in failed.stdout
    assert "no run of this look has ended with one" in " ".join(failed.stdout.split())


def test_a_dry_run_writes_nothing(place):
    shown = run(place, "-m", "algo=rloo,raft", "study=dry", "dry_run=true", PLAN)
    assert shown.returncode == 0 and "6 runs, 6 to do" in shown.stdout and not (place / "runs" / "dry").exists()
