"""A declared budget decides how long a run is, unless its user says how many steps it takes."""

import pytest

from align_lab.base.errors import ConfigError
from align_lab.base.hyperparameters import Budget, Train
from align_lab.config import composition, study
from align_lab.dispatch import lengths
from align_lab.train.learner import schedule

README = ["algo=rloo,dpo", "budget.episodes=20000", "seeds=[1]"]  # the budget of its study


def test_a_study_spends_the_budget_that_it_declares():
    asked = study.read(README)  # 16 prompts x 4 completions a step: 312 steps are 19,968 completions
    assert [run.train.planned_steps for run in asked.runs] == [313, 313]
    assert [*lengths.lines(asked.runs)] == [
        "rloo: 313 steps of 64 completions, or to its budget of 20,000 completions",
        "dpo: 313 steps of 32 pairs, or to its budget of 20,000 completions",
        "dpo: its 1,920 preference pairs are charged once, 3,840 completions of its budget of 20,000. To spend all of "
        "it: preferences.pairs=10000",
    ]


@pytest.mark.parametrize(("episodes", "last"), [(640, 10), (641, 11), (3840, 60), (20000, 313)])
def test_a_budget_of_completions_is_the_length(episodes, last):
    assert composition.compose(["algo=rloo", f"train.budget.episodes={episodes}"]).train.planned_steps == last


@pytest.mark.parametrize("words", [["train.steps=5"], ["sweeps=ours"]])
def test_steps_that_are_set_stay_and_a_budget_out_of_reach_is_said(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "ours.yaml").write_text("# @package _global_\ntrain: {steps: 5}\n")
    cfg = composition.compose(["algo=rloo", "train.prompts_per_step=4", "train.budget.episodes=20000", *words])
    assert cfg.train.planned_steps == 5
    assert [text for text in cfg.cautions if "budget" in text] == [
        "train.steps=5 ends it after 80 completions, before its budget of 20,000 is spent. Leave train.steps out, or "
        "type train.steps=1250"
    ]


def test_tokens_end_a_run_at_a_step_that_is_not_known_before():
    cfg = composition.compose(["algo=rloo", "train.budget.tokens=64000"])
    assert cfg.train.planned_steps == 0 and cfg.train.steps == 1000  # at the latest: a token for each completion
    assert lengths.of_run(cfg) == "steps of 64 completions, to its budget of 64,000 generated tokens"
    with pytest.raises(ConfigError, match="decay=linear ends with the last step"):
        composition.compose(["algo=rloo", "train.budget.tokens=64000", "train.decay=linear"])
    with pytest.raises(ConfigError, match="ends no run that samples nothing"):
        composition.compose(["algo=dpo", "train.budget.tokens=64000"])


def test_pairs_that_cannot_spend_the_budget_are_said():
    cautions = composition.compose(["algo=dpo", "train.budget.episodes=20000", "preferences.pairs=500"]).cautions
    assert [text for text in cautions if "budget" in text] == [
        "its 500 preference pairs are charged once, 1,000 completions of its budget of 20,000. To spend all of it: "
        "preferences.pairs=10000"
    ]


def test_the_learning_rate_reaches_zero_where_the_budget_ends():
    plan = Train(steps=100, warmup_steps=0, decay="linear", budget=Budget(episodes=640))  # 10 steps of 64
    assert [schedule(plan, step) for step in (0, 5, 10)] == pytest.approx([1.0, 0.5, 0.0])
