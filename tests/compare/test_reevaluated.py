"""A comparison by an evaluation that was made after training."""

import pytest

from align_lab.base.errors import ConfigError
from align_lab.compare.analysis import analyze
from align_lab.record import evaluations
from tests.compare.folders import edit, write_run

SETTINGS = {
    "prompts": 8,
    "metric": "eval/gold_score",
    "judges": {"gold_score": {"name": "gold"}, "vader": {"name": "vader"}},
}


def evaluate(path, values, *, name="more", step=20, **settings):
    """Store an evaluation with these deciding scores of the prompts, at the start 0."""
    mean = sum(values) / len(values)
    ends = {"low": None, "high": None, "change": None, "change_low": None, "change_high": None}
    metrics = {
        key: {"value": value, "start": 0.0, **ends} for key, value in (("eval/gold_score", mean), ("eval/score", 1.0))
    }
    result = {"name": name, "key": "k", "step": step, "settings": SETTINGS | settings, "about": {}, "labels": {}}
    answer = {"completion": "again", "score": 0.5}
    rows = [
        {"step": at, "index": i, "prompt": f"p{i}", "gold_score": value * bool(at), **answer}
        for at in (0, step)
        for i, value in enumerate(values)
    ]
    evaluations.write(path, result | {"metrics": metrics}, rows)


@pytest.fixture
def study(tmp_path):
    """By its own evaluation ppo leads, by the one that was made afterwards rloo."""
    for seed in range(4):
        evaluate(write_run(tmp_path / "st", "rloo", seed, (0.0, 0.1 * seed)), [2.0 + 0.01 * seed] * 8)
        evaluate(write_run(tmp_path / "st", "ppo", seed, (0.0, 1.0 + 0.1 * seed)), [1.0 + 0.01 * seed] * 8)
    return tmp_path / "st"


def test_the_stored_evaluation_decides_with_its_answers_and_says_so(study):
    assert analyze([study])["arms"][0]["name"] == "ppo"
    document = analyze([study], evaluation="more")
    best = document["arms"][0]
    assert best["name"] == "rloo" and best["metrics"]["eval/gold_score"]["values"] == pytest.approx(
        [2.0, 2.01, 2.02, 2.03]
    )
    assert document["verdict"]["sentence"].startswith("rloo is better")
    assert document["wins"]["prompts"] == 8 and document["samples"][0]["completions"][0]["completion"] == "again"
    assert {one["field"]: one["value"] for one in document["comparability"]["equal"]}["evaluation.prompts"] == "8"
    assert any("Decided by the evaluation more" in note for note in document["notes"])


def test_evaluations_with_other_settings_are_not_comparable(study):
    evaluate(next(study.glob("ppo-*-s0-*")), [1.0] * 4, prompts=4)
    document = analyze([study], evaluation="more")
    assert [one["field"] for one in document["comparability"]["differing"]] == ["evaluation.prompts"]
    assert not document["comparability"]["fair"]


def test_a_run_without_it_or_of_another_step_is_left_out(study):
    lacking, earlier = next(study.glob("ppo-*-s0-*")), next(study.glob("ppo-*-s1-*"))
    (lacking / "evaluations" / "more.json").unlink()
    edit(earlier / "evaluations" / "more.json", step=10)
    reasons = {run["seed"]: run["why"] for run in analyze([study], evaluation="more")["unfinished"]}
    assert reasons == {0: "it has no evaluation more", 1: "its evaluation more is of step 10, and it ended at 20"}


def test_a_name_that_no_run_has_is_refused_with_what_to_type(study):
    with pytest.raises(ConfigError, match=r"did you mean 'more'.*evaluate STUDY evaluation.prompts=768 name=mor"):
        analyze([study], evaluation="mor")
