"""Comparisons say where the set that decides also chose something, and where few prompts chose."""

import pytest

from align_lab.compare.analysis import analyze
from align_lab.compare.tuning import record, summary
from align_lab.compare.tuning.record import Trial, Tuning
from align_lab.config.composition import compose
from tests.compare.folders import write_run

SAID = "no development set, so the evaluation set also says which checkpoint is the best"
PLAN = {"trials": 1, "seeds": [100], "metric": "eval/gold_score", "sampler": "sobol", "prune": False, "spaces": {}}
TRIAL = Trial(point={"train.lr": 1e-3}, scores=(1.0,), spent=dict.fromkeys(record.COSTS, 1.0), steps=2)


@pytest.mark.parametrize(
    ("config", "marked"),
    [
        ({}, False),
        ({"evaluation.development": 128, "data.development": 200}, False),
        ({"evaluation.development": 0, "data.development": 200}, True),
        ({"evaluation.development": 128, "data.development": 0}, True),
        ({"evaluation.development": 128, "data.development_share": 0.0}, True),
        ({"evaluation.development": 128, "data.development_share": 0.0, "data.evaluation.development": "d"}, False),
    ],
)
def test_an_evaluation_that_chose_the_best_checkpoints_is_marked(tmp_path, config, marked):
    for seed in range(3):
        for arm, score in (("rloo", 1.0), ("dpo", 0.5)):
            write_run(tmp_path / "st", arm, seed, (0.0, 0.1 * seed, score + 0.1 * seed), config=config)
    notes = [note for note in analyze([tmp_path / "st"])["notes"] if SAID in note]
    assert len(notes) == marked and all(note.startswith("rloo and dpo: ") for note in notes)


@pytest.mark.parametrize(("prompts", "warned"), [(9, True), (63, True), (64, False), (None, False)])
def test_recipes_that_few_prompts_chose_are_marked(tmp_path, prompts, warned):
    for seed in range(3):
        write_run(tmp_path / "st", "rloo", seed, (0.0, 0.1, 1.0 + 0.1 * seed))
    plan = PLAN | {"arms": {"rloo": "x"}, "prompts": prompts}
    record.add(tmp_path / "st", record.declare(tmp_path / "st", plan), {"rloo": [TRIAL]})
    document = analyze([tmp_path / "st"])
    notes = [note for note in document["notes"] if note.startswith(f"Tuning chose by {prompts} development prompts")]
    assert len(notes) == warned
    assert (f"({prompts} prompts)" in document["tuning"]["method"]) == bool(prompts)


def test_a_tuning_that_was_begun_before_its_prompts_were_recorded_goes_on(tmp_path):
    old = record.declare(tmp_path, PLAN)
    assert record.declare(tmp_path, PLAN | {"prompts": 128}) == old
    assert list(summary.notes(Tuning(plan=PLAN, trials={"a": [TRIAL]}))) == []


def test_a_best_checkpoint_that_few_prompts_choose_is_said_before_the_run():
    (caution,) = compose(["algo=rloo", "data.development=20"]).cautions
    assert (
        caution.startswith("the best checkpoint is chosen by 20 development prompts")
        and "data.development=N" in caution
    )
    assert compose(["algo=rloo"]).cautions == compose(["algo=rloo", "data.development=0"]).cautions == []
    assert compose(["algo=rloo", "data.development=20", "evaluation.development=0"]).cautions == []
