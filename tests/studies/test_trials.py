"""What the records of a trial's runs say, whatever state the runs are in."""

from dataclasses import dataclass

import pytest

from align_lab.config.composition import compose
from align_lab.studies.trials import Arm, outcome
from tests.compare.folders import write_run

POINT = {"train.lr": 1e-4}
DIVERGED = {"state": "failed", "error": "DivergedError: loss is nan at step 20"}


@dataclass
class Named:
    name: str


def runs(study, *statuses, gold=(0.0, 0.5, 1.0)):
    return [Named(write_run(study, seed=seed, gold=gold, status=status).name) for seed, status in enumerate(statuses)]


def test_the_scores_are_those_of_the_last_evaluation_and_costs_add_up(tmp_path):
    trial = outcome(tmp_path, runs(tmp_path, None, None), POINT, 2, "eval/gold_score")
    assert trial.scores == (1.0, 1.0) and trial.score == 1.0 and trial.point == POINT
    assert trial.spent["episodes"] == 2 * 8 * 40 and trial.spent["tokens"] == 2 * 100 * 40


def test_a_run_that_diverged_has_ended_without_a_score_and_is_charged_until_then(tmp_path):
    trial = outcome(tmp_path, runs(tmp_path, None, DIVERGED), POINT, 2, "eval/gold_score")
    assert trial.scores == (1.0, None) and trial.score is None
    assert trial.spent["episodes"] > 8 * 40


@pytest.mark.parametrize("state", ["running", "stopped", "failed"])
def test_a_run_that_goes_on_or_failed_otherwise_is_waited_for(tmp_path, state):
    assert outcome(tmp_path, runs(tmp_path, None, {"state": state, "error": "OSError"}), POINT, 2, "eval/score") is None
    assert outcome(tmp_path, [Named("rloo-tiny-s7-00000007")], POINT, 2, "eval/score") is None


@pytest.mark.parametrize(("prompts", "judged"), [(384, 200), (100, 100)])
def test_a_trial_is_judged_with_the_prompts_that_the_development_set_has(prompts, judged):
    job = ("algo=rloo", f"evaluation.prompts={prompts}")  # of 200 held-out reviews
    trial = Arm(name="rloo", job=job, recipe=compose(job)).trial(POINT, number=0, seed=100, steps=60)
    composed = compose(trial)
    assert composed["evaluation"]["prompts"] == judged and composed["evaluation"]["sets"] == ["development"]
