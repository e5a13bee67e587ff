"""What the records of a trial's runs say, whatever state the runs are in."""

from dataclasses import dataclass

import pytest

from align_lab.base.errors import ConfigError
from align_lab.compare.tuning.record import Trial, Tuning
from align_lab.config.composition import compose
from align_lab.studies import tuning
from align_lab.studies.rounds import Planned, Waiting
from align_lab.studies.trials import Arm, outcome
from tests.compare.folders import write_run
from tests.compare.test_missing_scores import without

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


def named(folder, arm, number, status):
    return Named(write_run(folder, arm, number, (0.0, 0.5, 1.0), status=status).name)


def waits(folder, statuses):
    """What is said of a tuning of two arms with two trials of one seed each, in this folder of trials."""

    @dataclass
    class Settings:
        dry_run: bool = False

    @dataclass
    class Asked:
        trials_folder = folder
        arms = ("rloo", "ppo")
        study = type("Study", (), {"settings": Settings()})

    planned = [
        Planned(arm=arm, number=number, point=POINT, steps=2, runs=(named(folder, arm, number, status),))
        for arm, each in statuses.items()
        for number, status in enumerate(each)
    ]
    left = [one for one in planned if outcome(folder, one.runs, POINT, 2, "eval/gold_score") is None]
    return tuning._waits(Asked(), Waiting(1, left, planned, 2)).sentence


def test_an_arm_all_of_whose_trials_failed_otherwise_is_named_with_the_reason(tmp_path):
    full = {"state": "failed", "error": "OutOfMemoryError: 80 GiB are not enough", "step": 3}
    said = waits(tmp_path, {"rloo": (full, full), "ppo": (None, full)})
    assert said.startswith(
        "The tuning waits for 3 runs of trials. All 2 trials of rloo failed, none because it diverged"
    )
    assert "the first one failed at step 3: OutOfMemoryError: 80 GiB are not enough" in said
    assert "study=NAME and tune.space.rloo={FIELD: RANGE}; 1 of 2 trials of ppo failed; the first one failed" in said


@pytest.mark.parametrize(
    ("state", "fixed", "words"),
    [
        (
            "diverged",
            "sampling.temperature=0.7",
            "all 2 trials of rloo diverged. Give it smaller learning rates, tune.space.rloo={train.lr: "
            "'log(1.5e-06, 3.75e-05)'}, and tune again under a new name, study=NAME; or leave the arm out",
        ),
        ("diverged", "train.lr=1.5e-4", "diverged. Set a smaller train.lr, and tune again under a new name"),
        (
            "unscored",
            "sampling.temperature=0.7",
            "all 2 trials of rloo ended without a score; of {name} its last evaluation has no gold score: 100 % of the "
            "completions got no opinion. Repair the judge, or decide by another metric, for example "
            "evaluation.metric=eval/score, and tune again under a new name: study=NAME",
        ),
    ],
)
def test_an_arm_without_a_score_says_why_and_what_to_type(tmp_path, state, fixed, words):
    write_run(tmp_path, seed=0, status=DIVERGED, config={"arm": "rloo_00"})
    last = write_run(tmp_path, seed=1, config={"arm": "rloo_01"}, status=DIVERGED if state == "diverged" else None)
    for unscored in (
        write_run(tmp_path, seed=2, config={"arm": "other_rloo_01"}),
        *([last] if state == "unscored" else []),
    ):
        without(unscored, "eval/gold_score", abstained=1.0)
    known = Tuning(plan={}, trials={"rloo": [Trial(point=POINT, scores=(None,), spent={}, steps=2)] * 2})
    job = ("algo=rloo", fixed)
    arm = Arm(name="rloo", job=job, recipe=compose(job))
    with pytest.raises(ConfigError) as error:
        tuning._chosen(type("Asked", (), {"trials_folder": tmp_path}), known, arm)
    assert words.replace("{name}", last.name) in str(error.value)


def test_an_arm_some_of_whose_trials_have_a_score_gets_the_best(tmp_path):
    write_run(tmp_path, status=DIVERGED, config={"arm": "rloo_00"})
    trials = [Trial(point=POINT, scores=(score,), spent={}, steps=2) for score in (None, 0.5, 0.75)]
    arm = Arm(name="rloo", job=("algo=rloo",), recipe=compose(["algo=rloo"]))
    asked = type("Asked", (), {"trials_folder": tmp_path})
    assert tuning._chosen(asked, Tuning(plan={}, trials={"rloo": trials}), arm) == trials[2]


def test_trials_that_go_on_are_waited_for_without_a_reason(tmp_path):
    said = waits(tmp_path, {"rloo": ({"state": "running"}, None), "ppo": (None, None)})
    assert said == (
        "The tuning waits for 1 runs of trials. When their jobs have ended, or what made them fail is repaired, the "
        "same command goes on"
    )
