"""What compare says of a study whose seeds came in steps, from folders that were written by hand."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from align_lab.base.errors import ConfigError
from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.analysis import analyze
from align_lab.compare.asked import Asked
from align_lab.compare.sequential import plan_file
from align_lab.compare.statistics import welch_interval
from tests.compare.folders import name_of, write_run, write_study

PLAN = SeedPlan(first=4, step=1, most=6, smallest=0.3)
GOOD, BAD = [2.0, 2.1, 2.2, 2.15, 2.05, 2.1], [0.0, 0.1, 0.2, 0.1, 9.0, 9.0]
CLOSE = [2.02, 2.12, 2.18, 2.1, 2.0, 2.15]


DIVERGED = {"state": "failed", "step": 10, "error": "DivergedError: the norm of the gradient is nan at step 11"}


def study(tmp_path, control="", plan=PLAN, **arms):
    folder = tmp_path / "st"
    write_study(folder, arms)
    names = {arm: tuple(name_of(arm, seed) for seed in range(6)) for arm in arms}
    return folder, plan_file.declare(folder, plan, control=control, metric="eval/gold_score", runs=names)


def diverge(folder, arm, *seeds, start=-0.5):
    """Replace runs by some that scored `start` before training and diverged."""
    for seed in seeds:
        shutil.rmtree(folder / name_of(arm, seed), ignore_errors=True)
        write_run(folder, arm, seed, (start,), status=DIVERGED)


def test_a_pair_is_decided_by_the_seeds_of_its_last_look(tmp_path):
    """Seeds 4 and 5 of the beaten arm would turn the verdict; they were not part of the look that decided."""
    folder, written = study(tmp_path, good=GOOD, bad=BAD)
    document = analyze([folder])
    (pair,) = document["verdict"]["pairs"]
    expected = welch_interval(GOOD[:4], BAD[:4], confidence=1 - written.levels[0])
    low = pair["low"] if pair["a"] == "good" else -pair["high"]
    assert low == pytest.approx(expected.low) and pair["words"] == "good > bad"
    assert any("4 finished runs are not part of any look" in note for note in document["notes"])


def test_an_arm_that_ended_lacks_no_seed(tmp_path):
    """Other arms have more seeds; only what the next look waits for is missing."""
    folder, _ = study(tmp_path, good=GOOD, bad=BAD[:4])
    assert analyze([folder])["missing"] == []
    going_on, _ = study(tmp_path / "on", a=[0.0, 0.3, 0.6, 0.4, 0.2], b=[0.25, 0.55, 0.9, 0.5])
    assert analyze([going_on])["missing"] == [{"arm": "b", "seeds": [4]}]


def test_a_study_with_a_run_that_diverged_goes_on_and_its_verdict_says_how_it_counts(tmp_path):
    """The lowest score of the look, also of those before training, is the start of the run that diverged."""
    folder, written = study(tmp_path, good=GOOD, bad=[0.0, 0.1, 0.2, 0.1])
    diverge(folder, "bad", 3)
    document = analyze([folder])
    (pair,) = document["verdict"]["pairs"]
    expected = welch_interval(GOOD[:4], [0.0, 0.1, 0.2, -0.5], confidence=1 - written.levels[0])
    assert (pair["low"], pair["words"]) == (pytest.approx(expected.low), "good > bad")
    (warning,) = document["verdict"]["warnings"]
    assert "(seeds.diverged=worst): 1 of 4 runs of bad (seed 3), with -0.5." in warning
    assert document["missing"] == [] and document["precision"] == []


def test_an_arm_of_which_every_run_diverged_is_beaten(tmp_path):
    folder, _ = study(tmp_path, good=GOOD[:4], bad=[])
    diverge(folder, "bad", 0, 1, 2, 3, start=0.0)
    document = analyze([folder])
    assert document["verdict"]["sentence"].startswith("good is better than bad by 2.1")
    assert "4 of 4 runs of bad (seeds 0, 1, 2, 3), with 0." in document["verdict"]["warnings"][0]


def test_a_plan_that_waits_for_a_run_that_diverged_says_what_would_not(tmp_path):
    plan = replace(PLAN, diverged="wait")
    folder, written = study(tmp_path, plan=plan, good=GOOD, bad=[0.0, 0.1, 0.2])
    diverge(folder, "bad", 3)
    document = analyze([folder])
    assert document["missing"] == [{"arm": "bad", "seeds": [3]}] and document["verdict"]["pairs"] == []
    assert any("Diverged: bad seed 3. This plan waits" in note and "study=NAME" in note for note in document["notes"])
    with pytest.raises(ConfigError, match=r"seeds\.diverged: 'wait', now 'worst'"):
        plan_file.declare(folder, PLAN, control="", metric="eval/gold_score", runs=written.runs)


def test_together_with_another_study_its_looks_do_not_count_and_compare_says_so(tmp_path):
    folder, _ = study(tmp_path, good=GOOD, bad=BAD)
    for seed in range(3):
        write_run(tmp_path / "other", "third", seed)
    document = analyze([folder, tmp_path / "other"])
    assert any("came in steps" in note and "too narrow" in note for note in document["notes"])


def test_the_sentence_says_what_is_equal_and_what_goes_on(tmp_path):
    folder, _ = study(tmp_path, good=GOOD, close=CLOSE)
    assert analyze([folder])["verdict"]["sentence"].startswith("good and close are equal to within ±0.3 sd of human")
    other, _ = study(tmp_path / "other", a=[0.0, 0.3, 0.6, 0.1], b=[0.25, 0.55, 0.9, 0.6])
    document = analyze([other])
    assert "the study goes on" in document["verdict"]["pairs"][0]["words"]
    assert any("The next look waits for one run of a and one run of b" in note for note in document["notes"])


def test_before_the_first_look_there_is_no_verdict(tmp_path):
    folder, _ = study(tmp_path, a=[0.0, 1.0], b=[9.0, 9.1])
    verdict = analyze([folder])["verdict"]
    assert verdict["sentence"] == "The first look, at 4 seeds an arm, is still to come." and verdict["pairs"] == []


def test_with_a_control_the_sentence_is_against_it(tmp_path):
    folder, _ = study(tmp_path, control="bad", good=GOOD, bad=[*BAD[:4], 0.1, 0.1], close=CLOSE)
    assert analyze([folder])["verdict"]["sentence"].startswith("Better than bad: ")


def test_another_test_than_the_planned_one_is_refused(tmp_path):
    folder, _ = study(tmp_path, good=GOOD, bad=BAD)
    for asked in (Asked(paired=True), Asked(control="bad"), Asked(smallest=0.1)):
        with pytest.raises(ConfigError, match="planned its looks for every pair, unpaired"):
            analyze([folder], asked=asked)
