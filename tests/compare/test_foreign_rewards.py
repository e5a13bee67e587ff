"""Runs of other programs whose rewards are others get no winner; what is not equal in their budget is said."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from align_lab.base.errors import ConfigError
from align_lab.compare import terminal
from align_lab.compare.analysis import analyze
from align_lab.compare.asked import Asked
from align_lab.compare.foreign import reader
from align_lab.compare.report import markdown, page
from tests.compare.folders import write_run
from tests.compare.foreign_files import trl_ppo_state, trl_state


def runs(folder, arm, level, rewards):
    for seed in (1, 2, 3):
        path = folder / f"{arm}-s{seed}"
        trl_state(path, [0.1, level + seed / 100], evals=[level + seed / 100])
        (path / "args.json").write_text(json.dumps({"trainer": "grpo", "reward_funcs": rewards, "beta": 0.0}))


def read(*typed):
    return reader.read([[str(word) for word in words] for words in typed], alone=True)


def test_other_rewards_have_no_winner(tmp_path):
    runs(tmp_path / "a", "grpo", 0.9, ["accuracy"])
    runs(tmp_path / "b", "rloo", 0.2, ["politeness"])
    foreign = read(["trl", tmp_path / "a", "reward=accuracy"], ["trl", tmp_path / "b", "reward=politeness"])
    document = analyze([], foreign=foreign)
    beside = document["foreign"]
    assert beside["rewards"] == {"grpo (TRL)": "accuracy", "rloo (TRL)": "politeness"}
    assert "No winner: the arms have other rewards" in beside["sentence"] and beside["pairs"] == []
    out = io.StringIO()
    terminal.show(document, Console(file=out, width=200))
    for text in (out.getvalue(), markdown.markdown(document, []), page.html(document)):
        assert "No winner" in text and "is better than" not in text


def test_rewards_that_the_command_calls_one_are_compared(tmp_path):
    runs(tmp_path / "a", "grpo", 0.9, ["accuracy"])
    runs(tmp_path / "b", "rloo", 0.2, ["exact"])
    foreign = read(["trl", tmp_path / "a", "reward=accuracy"], ["trl", tmp_path / "b", "reward=accuracy"])
    beside = analyze([], foreign=foreign)["foreign"]
    assert "grpo (TRL) is better than rloo (TRL)" in beside["sentence"]


def test_ours_beside_another_reward_does_not_win(tmp_path):
    for seed in (0, 1, 2):
        write_run(tmp_path / "st", "rloo", seed, (0.0, 1.0 + seed / 10), config={"reward.name": "human_ratings"})
    runs(tmp_path / "a", "grpo", 0.2, ["accuracy"])
    beside = analyze([tmp_path / "st"], foreign=read(["trl", tmp_path / "a", "reward=accuracy"]))["foreign"]
    assert "accuracy in grpo (TRL); human_ratings in rloo (align_lab)" in beside["sentence"].replace(
        "human_ratings in rloo (align_lab); accuracy in grpo (TRL)",
        "accuracy in grpo (TRL); human_ratings in rloo (align_lab)",
    )
    same = analyze([tmp_path / "st"], foreign=read(["trl", tmp_path / "a", "reward=human_ratings"]))["foreign"]
    assert "rloo (align_lab) is better than grpo (TRL)" in same["sentence"]


def test_equality_needs_a_gap_that_was_declared(tmp_path):
    runs(tmp_path / "a", "grpo", 0.9, ["accuracy"])
    runs(tmp_path / "b", "rloo", 0.9, ["accuracy"])
    foreign = read(["trl", tmp_path / "a"], ["trl", tmp_path / "b"])
    assert "No difference is shown" in analyze([], foreign=foreign)["foreign"]["sentence"]
    declared = analyze([], foreign=foreign, asked=Asked(smallest=0.2))["foreign"]
    assert declared["smallest"] == 0.2 and "equal to within ±0.2" in declared["sentence"]


def test_a_budget_that_is_not_equal_is_said(tmp_path):
    for arm, steps in (("ppo", 2), ("big", 6)):
        for seed in (1, 2):
            trl_ppo_state(tmp_path / f"{arm}-s{seed}", [0.1 * step + seed / 100 for step in range(steps)])
    beside = analyze([], foreign=read(["trl", tmp_path]))["foreign"]
    episodes = {arm["name"]: f"{arm['beside']['episode']:,.0f}" for arm in beside["arms"]}
    (note,) = [note for note in beside["notes"] if "The budget is not equal in episodes" in note]
    assert all(f"{arm} {count}" in note for arm, count in episodes.items()) and len(set(episodes.values())) == 2


def test_a_word_behind_from_that_is_not_known_names_those_that_are(tmp_path):
    with pytest.raises(ConfigError, match=r"\[reward=NAME\]"):
        read(["trl", tmp_path, "rewards=x"])
