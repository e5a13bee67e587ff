"""A study whose seeds also move its stages, through the command line: builds, comparison, replay, another list."""

import json

import pytest

from tests.run.test_runs import invoke, place, run

pytestmark = pytest.mark.nightly

__all__ = ["place"]  # a fixture

COMMAND = ("-m", "algo=rloo,dpo", "study=varied", "train.steps=1", "seed=0,1", "parallel=2")
ALL = "vary=[rl,pairs,reward,policy]"


@pytest.fixture(scope="module")
def done(place):
    first = run(place, *COMMAND, ALL)
    assert first.returncode == 0, first.stderr + first.stdout
    return {
        (one["choices"]["algo"], one["seed"]): one
        for path in (place / "runs" / "varied").glob("*/manifest.json")
        if (one := json.loads(path.read_text()))
    }


def test_each_seed_has_its_builds_and_both_arms_share_them(done):
    for seed in (0, 1):
        assert done["rloo", seed]["hashes"] == done["dpo", seed]["hashes"]
        assert done["rloo", seed]["artefacts"].items() <= done["dpo", seed]["artefacts"].items()
    zero, one = done["dpo", 0], done["dpo", 1]
    moved = {name for name in zero["artefacts"] if zero["artefacts"][name] != one["artefacts"][name]}
    assert moved == {"policy", "reward", "pairs"}
    assert {name for name in zero["hashes"] if zero["hashes"][name] != one["hashes"][name]} == {"policy", "reward"}


def test_they_are_comparable_and_the_report_says_over_what(place, done):
    shown = invoke(place, "compare", "varied", "--json")
    assert shown.returncode == 0, shown.stderr
    whole = json.loads(shown.stdout)
    assert whole["notes"][0] == "Intervals are over seeds of RL, preference pairs, reward model and start policy."
    equal = {one["field"]: one["value"] for one in whole["comparability"]["equal"]}
    assert equal["policy"] == equal["reward"] == "one for each seed"


def test_the_lock_replays_with_the_same_builds(place, done):
    invoke(place, "compare", "varied")
    again = invoke(place, "replay", place / "runs" / "varied" / "comparison.lock")
    assert again.returncode == 0 and again.stdout.count("as locked") == 4, again.stdout + again.stderr


def test_another_list_is_refused_and_more_seeds_are_not(place, done):
    other = run(place, *COMMAND, "vary=[rl,pairs]")
    assert other.returncode == 2 and "begun with vary: [rl, pairs, reward, policy]" in other.stderr
    more = run(place, "-m", "algo=rloo,dpo", "study=varied", "train.steps=1", "seed=2", ALL, "dry_run=true")
    assert more.returncode == 0 and "3 stages first" in more.stdout and more.stdout.count("(seed 2)") == 3
