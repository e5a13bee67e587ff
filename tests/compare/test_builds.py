"""Stages that vary with the seed: runs of one seed must have one build, and the report says what seeds moved."""

import json

import pytest

from align_lab.__main__ import main
from align_lab.cli.gate import gate
from align_lab.compare.analysis import analyze
from align_lab.compare.builds import over, seeded
from align_lab.compare.comparability import proof, settings
from tests.compare.folders import edit, read_run, write_run

VARIED = {"vary": ["rl", "reward", "policy"]}
FROM = {"data": "data-1", "policy": "sft-2", "reward": "human_ratings-3", "judges.gold_score": "gold-4"}


def study(folder, *, varied=True, **changed):
    """Two arms with two seeds each; `changed`: arm and seed -> hash of its start policy."""
    for algo in ("rloo", "ppo"):
        for seed in (0, 1):
            build = changed.get(f"{algo}{seed}", f"p{seed}")
            hashes = {"policy": build, "reward": f"r{seed}", "reward.inner": f"i{seed}"} if varied else {}
            config = VARIED if varied else {"vary": ["rl"]}
            path = write_run(folder, algo, seed, (0.0, 0.5, 1.0 + 0.1 * seed), config=config, hashes=hashes)
            edit(path / "manifest.json", artefacts=FROM)
    return [read_run(path) for path in sorted(folder.iterdir())]


def unequal(runs):
    return {field: values for field, values in settings(runs).items() if len(values) > 1}


def test_builds_that_differ_by_the_declared_seed_are_equal_settings(tmp_path):
    runs = study(tmp_path)
    assert unequal(runs) == {}
    equal = {one["field"]: one["value"] for one in proof(runs, {}, [])["equal"]}
    assert [equal[name] for name in ("policy", "reward", "reward.inner")] == 3 * ["one for each seed"]
    assert equal["vary"] == '["rl", "reward", "policy"]' and equal["gold"] == "bbbb"
    assert runs[0].hashes["policy"] == "p0"  # the record itself, and the lock, hold the hash


def test_another_build_for_the_same_seed_is_named_with_its_seed(tmp_path):
    runs = study(tmp_path, ppo1="other")
    (values,) = unequal(runs).values()
    named = {value: sorted(name.partition("-s")[0] for name in names) for value, names in values.items()}
    assert named == {
        "one for each seed": ["ppo-tiny", "rloo-tiny"], "seed 1: other": ["ppo-tiny"], "seed 1: p1": ["rloo-tiny"],
    }  # fmt: skip


def test_builds_that_differ_without_being_declared_are_not_equal(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, "rloo", seed, config={"vary": ["rl", "reward"]}, hashes={"policy": f"p{seed}"})
    assert list(unequal([read_run(path) for path in sorted(tmp_path.iterdir())])) == ["policy"]


def test_arms_with_other_lists_are_not_comparable(tmp_path):
    write_run(tmp_path, "rloo", 0, config=VARIED)
    write_run(tmp_path, "ppo", 0, config={"vary": ["rl"]})
    assert "vary" in unequal([read_run(path) for path in sorted(tmp_path.iterdir())])


@pytest.mark.parametrize(
    ("varied", "words"),
    [
        (False, "Intervals are over RL seeds alone, at one start policy and one reward model: with others the arms"),
        (True, "Intervals are over seeds of RL, reward model and start policy."),
    ],
)
def test_the_report_says_over_what_its_intervals_generalize(tmp_path, varied, words):
    study(tmp_path, varied=varied)
    whole = analyze([tmp_path])
    assert whole["comparability"]["fair"] and words in whole["notes"][0]


def test_what_is_not_moved_is_only_named_where_it_was_used(tmp_path):
    path = write_run(tmp_path, "rloo", 0, config={"vary": ["rl", "pairs"]})
    assert over([read_run(path)]) == "Intervals are over seeds of RL alone."  # no pairs
    edit(path / "manifest.json", artefacts={**FROM, "pairs": "preferences-5"})
    words = over([read_run(path)])
    assert words.startswith("Intervals are over seeds of RL and preference pairs, at one start policy and one reward")
    edit(path / "manifest.json", artefacts={"data": "data-1", "policy": "policy-2"})  # released, and a rule as reward
    assert over([read_run(path)]) == "Intervals are over seeds of RL alone."
    assert over([read_run(write_run(tmp_path, "ppo", 0))]) == ""  # an older version, which does not say


def test_a_reward_that_holds_trained_ones_has_a_seed():
    assert seeded({"policy": "policy-1", "reward.inner": "human_ratings-2", "pairs": "preferences-3"}) == "reward pairs"
    assert seeded({"data": "data-1"}) == ""


def test_a_stored_baseline_remembers_the_build_of_each_seed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    study(tmp_path / "runs" / "s")
    assert gate(["s", "--arm", "rloo", "--store", "base.json"]) == 0
    stored = json.loads((tmp_path / "base.json").read_text())
    assert stored["hashes"]["policy"] == "p0" and stored["runs"][1]["hashes"]["policy"] == "p1"
    capsys.readouterr()
    assert main(["gate", "s", "--arm", "ppo", "--baseline", "base.json", "--margin", "1", "--json"]) in (0, 4)
