"""`replay`: what is there is checked; `--fresh` computes it again elsewhere and compares the numbers."""

import json
import shutil

import pytest

from tests.run.test_runs import environment, invoke, place, run

__all__ = ["place"]  # a fixture


@pytest.fixture(scope="module")
def locked(place):
    """The lock of a study of two arms."""
    for algo in ("rloo", "reinforce"):
        assert run(place, f"algo={algo}", "study=original", "train.steps=2", "seed=8").returncode == 0
    assert invoke(place, "compare", "original").returncode == 0
    return place / "runs" / "original" / "comparison.lock"


def test_runs_that_exist_are_checked_and_the_words_say_so(place, locked):
    done = invoke(place, "replay", locked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("as locked (checked, not computed again)") == 2
    last = done.stdout.splitlines()[-1]
    assert last == (
        "2 of 2 runs equal the lock; 2 checked, not computed again, 0 computed by this command. To compute all again: "
        "--fresh"
    )
    told = json.loads(invoke(place, "replay", locked, "--json").stdout)
    assert told["as_locked"] and [one["computed"] for one in told["runs"]] == [False, False]


def test_fresh_computes_every_run_again_in_a_study_of_their_own(place, locked):
    """Equal to the bit, although the finished runs of the other study have the same names."""
    done = invoke(place, "replay", locked, "--fresh")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs are computed again in runs/original_fresh." in done.stdout
    assert done.stdout.count("as locked (computed again)") == 2
    assert "2 of 2 runs equal the lock; 0 checked, not computed again, 2 computed by this command" in done.stdout
    fresh = sorted((place / "runs" / "original_fresh").glob("[!.]*"))
    assert len(fresh) == 2 and not any(path.is_symlink() for path in fresh)
    for path in fresh:
        first, again = ((folder / "status.json").read_text() for folder in (locked.parent / path.name, path))
        assert json.loads(first)["heartbeat"] < json.loads(again)["heartbeat"]
    twice = invoke(place, "replay", locked, "--fresh")
    assert twice.returncode == 2 and "--study original_fresh_2" in twice.stderr
    shutil.rmtree(fresh[0])
    rest = invoke(place, "replay", locked, "--fresh")
    assert rest.returncode == 0 and "of which 1 were computed by this command before" in rest.stdout


def test_a_number_that_differs_is_shown_beside_the_locked_one(place, locked, tmp_path):
    content = json.loads(locked.read_text())
    content["runs"][0]["scores"]["eval/gold_score"] = 0.125
    (tmp_path / "comparison.lock").write_text(json.dumps(content))
    done = invoke(place, "replay", tmp_path)
    assert done.returncode == 1 and "1 of 2 runs equal the lock" in done.stdout
    assert "eval/gold_score " in done.stdout and "(locked: 0.125)" in done.stdout


def test_a_fresh_plan_writes_nothing(place, locked):
    planned = invoke(place, "replay", locked, "--fresh", "--study", "third", "--dry-run")
    assert planned.returncode == 0 and "2 runs, 2 to do" in planned.stdout
    assert "ALIGN_LAB_CACHE" in environment(place) and not (place / "runs" / "third").exists()
