"""The tuning before a study: the best of k trials by enumeration, its interval, fields that matter, the record."""

import json
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest

from align_lab.base.errors import ConfigError
from align_lab.compare.runs import Run
from align_lab.compare.tuning import expected, record
from align_lab.compare.tuning.record import Trial, Tuning
from align_lab.compare.tuning.summary import summary

SCORES = np.array([[0.1, 0.5], [0.9, 0.2], [0.4, 0.7], [0.6, 0.6], [0.3, 0.1]])
PLAN = {"trials": 5, "seeds": [100, 101], "metric": "eval/gold", "sampler": "sobol", "prune": False}


def trials(scores=SCORES, *, steps=60):
    spent = dict.fromkeys(record.COSTS, 10.0)
    return [
        Trial(point={"train.lr": 10.0**-place}, scores=tuple(each), spent=spent, steps=steps)
        for place, each in enumerate(np.asarray(scores, dtype=object).tolist())
    ]


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_best_of_k_is_the_mean_over_all_subsets_chosen_by_one_seed_and_judged_by_the_other(k):
    by_hand = []
    for subset in combinations(range(5), k):
        for chooses, judges in ((0, 1), (1, 0)):
            by_hand.append(SCORES[max(subset, key=lambda trial: SCORES[trial, chooses]), judges])
    assert expected.best_of(SCORES, k) == pytest.approx(fmean(by_hand))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_with_one_seed_it_is_the_mean_of_the_maxima(k):
    maxima = [max(SCORES[trial, 0] for trial in subset) for subset in combinations(range(5), k)]
    assert expected.best_of(SCORES[:, :1], k) == pytest.approx(fmean(maxima))


def test_with_three_seeds_each_is_judged_by_what_the_others_choose():
    scores = np.array([[0.0, 1.0, 5.0], [2.0, 2.0, 0.0], [1.0, 0.0, 1.0]])
    chosen = [max(range(3), key=lambda t, j=j: scores[t].sum() - scores[t, j]) for j in range(3)]
    assert expected.best_of(scores, 3) == pytest.approx(fmean(scores[chosen[j], j] for j in range(3)))


def test_choosing_does_not_raise_the_score_of_equal_trials():
    """All trials are equally good, so the best of them is worth no more than one; the plain maximum says otherwise."""
    generator = np.random.default_rng(0)
    draws = generator.normal(size=(4000, 12, 2))
    assert abs(float(expected.best_of(draws, 12).mean())) < 0.05
    assert float(expected.best_of(draws[..., :1], 12).mean()) > 1.5


def test_the_interval_holds_what_is_expected_most_of_the_time():
    """Trials differ by one sd, and seeds by half of one. 1,000 tunings of 12 trials gave 0.90 for the best of four."""
    generator, rounds = np.random.default_rng(1), 300
    quality = generator.normal(size=(100_000, 4))
    chosen = np.take_along_axis(quality, (quality + 0.5 * generator.normal(size=quality.shape)).argmax(1)[:, None], 1)
    covered = 0
    for _ in range(rounds):
        _, low, high = expected.interval(generator.normal(size=(12, 1)) + 0.5 * generator.normal(size=(12, 2)), 4)
        covered += low <= float(chosen.mean()) <= high
    assert covered / rounds > 0.85


def test_two_trials_have_no_interval():
    mean, low, high = expected.interval(SCORES[:2], 1)
    assert mean == pytest.approx(SCORES[:2].mean()) and np.isnan(low) and np.isnan(high)


def test_a_field_that_decides_has_the_share_1_and_one_that_does_not_has_little():
    generator = np.random.default_rng(2)
    points = [
        {"train.lr": 10.0**-x, "algo.clip": float(y), "algo.form": "a"} for x, y in generator.uniform(1, 4, (40, 2))
    ]
    scores = [-((np.log10(point["train.lr"]) + 2.5) ** 2) for point in points]
    shares = expected.sensitivity(points, scores)
    assert shares["train.lr"] == pytest.approx(1) and shares["algo.clip"] < 0.2 and "algo.form" not in shares
    assert expected.sensitivity(points[:5], scores[:5]) == {}
    assert set(expected.sensitivity(points, [1.0] * 40).values()) == {0.0}


def study_run(score, seed):
    class Final(Run):
        final = {"eval/development/gold": score}  # noqa: RUF012

    return Final(name="", algo="a", seed=seed, fields={}, hashes={}, labels={}, spent={}, rows=None)


def test_optimism_is_what_the_chosen_trial_loses_with_fresh_seeds():
    tuning = Tuning(plan=PLAN, trials={"a": trials(), "b": trials(SCORES - 1)})
    tuned = summary(tuning, {"a": [study_run(score, seed) for seed, score in enumerate((0.2, 0.3, 0.4))]})
    a, b = tuned["arms"]
    assert a["recipe"] == {"train.lr": 1e-3} and a["tuned"] == pytest.approx(0.6)
    assert a["fresh"] == pytest.approx(0.3) and a["optimism"] == pytest.approx(0.3) and a["low"] < 0.3 < a["high"]
    assert b["fresh"] is None and b["optimism"] is None and a["episodes"] == 50
    assert [one["trials"] for one in a["expected"]] == [1, 2, 4, 5] and tuned["sentence"] == ""


def test_a_leader_that_changes_with_the_number_of_trials_is_named():
    steady = [[0.4, 0.4]] * 5
    bold = [[1.0, 1.0], *[[0.0, 0.0]] * 4]
    tuned = summary(Tuning(plan=PLAN, trials={"steady": trials(steady), "bold": trials(bold)}), {})
    assert tuned["leaders"] == {"1": "steady", "2": "steady", "4": "bold", "5": "bold"}
    assert "steady at 1 and 2; bold at 4 and 5" in tuned["sentence"]


def test_a_trial_that_diverged_is_never_chosen_and_counts_with_the_lowest_score():
    tuning = Tuning(plan=PLAN, trials={"a": trials([[None, 0.99], [0.5, 0.5], [0.1, 0.3]])})
    assert tuning.chosen("a").scores == (0.5, 0.5)
    (arm,) = summary(tuning, {})["arms"]
    assert arm["diverged"] == 1 and arm["expected"][0]["mean"] == pytest.approx(fmean([0.1, 0.99, 0.5, 0.5, 0.1, 0.3]))
    with pytest.raises(ConfigError, match=r"all 2 trials of a diverged.*tune\.space\.a"):
        Tuning(plan=PLAN, trials={"a": trials([[None, 1.0], [None, None]])}).chosen("a")


def test_rungs_are_chosen_by_the_longest_and_have_no_curve():
    early, late = trials([[0.9, 0.9]] * 3, steps=20), trials([[0.5, 0.5]], steps=60)
    tuning = Tuning(plan=PLAN | {"prune": "halving"}, trials={"a": [*early, *late]})
    (arm,) = summary(tuning, {})["arms"]
    assert arm["tuned"] == 0.5 and arm["expected"] == []


def test_the_record_is_read_as_it_was_written_and_refuses_what_was_edited(tmp_path):
    begun = record.declare(tmp_path, PLAN)
    written = record.add(tmp_path, begun, {"a": trials([[None, 0.5], [0.25, 1.0]])})
    assert record.read(tmp_path) == written and record.declare(tmp_path, PLAN) == written
    with pytest.raises(ConfigError, match=r"another tuning:\n  tune\.trials: 5, now 6\nType what it began with"):
        record.declare(tmp_path, PLAN | {"trials": 6})
    path = tmp_path / ".dispatch" / "tuning.json"
    content = json.loads(path.read_text())
    content["trials"]["a"][1]["scores"][0] = 0.75
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="not as the study wrote it"):
        record.read(tmp_path)
