"""Arms have the names of their cards where people read, and their own where a study named them."""

from __future__ import annotations

import pytest

from align_lab.compare.analysis import analyze
from align_lab.compare.foreign import reader
from align_lab.compare.names import displayed, name_of, title
from align_lab.config.groups import options
from tests.compare.folders import write_run
from tests.compare.foreign_files import trl_state


@pytest.mark.parametrize(
    ("algo", "shown"),
    [
        ("dr_grpo", "Dr.\u00a0GRPO"), ("rloo", "RLOO"), ("ppo_max", "PPO-max"), ("reinforce_pp", "REINFORCE++"),
        ("ppo", "PPO"), ("slic_hf", "SLiC-HF"), ("reinforce_pp_baseline", "REINFORCE++ with a baseline"),
        ("sail_dp", "SAIL-DP"), ("my_own", "my_own"), ("../ppo", "../ppo"),
    ],
)  # fmt: skip
def test_a_card_begins_with_the_name(algo, shown):
    assert title(algo) == shown


def test_every_algorithm_has_a_name_of_its_own():
    shown = {algo: title(algo) for algo in options("algo")}
    assert len(set(shown.values())) == len(shown) and all(len(name) <= 28 for name in shown.values())


def test_a_name_ends_where_its_explanation_begins():
    assert name_of("PPO for language models: a token is an action") == "PPO"
    assert name_of("REINFORCE with a moving-average baseline, the simplest") == "REINFORCE"


def test_names_are_shown_in_tables_and_sentences_and_not_in_paths_and_values(tmp_path):
    for seed, (one, other) in enumerate(zip([1.0, 1.1, 1.2], [0.1, 0.2, 0.3], strict=True)):
        write_run(tmp_path / "ppo", "dr_grpo", seed, (0.0, one))
        write_run(tmp_path / "ppo", "ppo", seed, (0.0, other))
        write_run(
            tmp_path / "ppo", "ppo", seed, (0.0, -2.0), name="tiny_ppo", config={"arm": "tiny_ppo", "train.lr": 1}
        )
    document = displayed(analyze([tmp_path / "ppo"]))
    assert [arm["name"] for arm in document["arms"]] == ["Dr.\u00a0GRPO", "PPO", "tiny_ppo"]
    assert document["verdict"]["sentence"].startswith("Dr.\u00a0GRPO is better than every other arm")
    assert {pair["words"] for pair in document["verdict"]["pairs"]} >= {"Dr.\u00a0GRPO > PPO", "PPO > tiny_ppo"}
    recipes = {row["field"]: row["values"] for row in document["comparability"]["recipes"]}
    assert recipes["algo.name"] == {"Dr.\u00a0GRPO": "dr_grpo", "PPO": "ppo", "tiny_ppo": "ppo"}
    assert document["study"] == "ppo" and all(name.startswith("ppo-tiny") for name in document["arms"][1]["runs"])


def test_arms_of_other_programs_are_called_alike_in_sentences_and_tables(tmp_path):
    """`mine` is nobody's option; one that would be called as another arm keeps its own name, whole."""
    for seed in (0, 1):
        write_run(tmp_path / "s", "grpo", seed, (0.0, 1.0 + seed), objective_scores=(0.0, 1.0))
        write_run(tmp_path / "s", "rloo", seed, (0.0, seed), objective_scores=(0.0, 0.5), config={"arm": "dpo"})
        for arm, end in (("grpo", 0.7), ("mine", 0.1), ("ppo", 0.2), ("PPO", 0.3)):
            trl_state(tmp_path / "out" / f"{arm}-s{seed}", [0.1, end, end + seed / 10])
    foreign = reader.read([["trl", str(tmp_path / "out"), "reward=human_ratings"]], alone=False)
    beside = displayed(analyze([tmp_path / "s"], foreign=foreign))["foreign"]
    names = {"GRPO (align_lab)", "dpo (align_lab)", "GRPO (TRL)", "mine (TRL)", "ppo (TRL)", "PPO (TRL)"}
    assert {arm["name"] for arm in beside["arms"]} == names
    assert {pair[side] for pair in beside["pairs"] for side in ("a", "b")} == names
    assert {point["arm"] for point in beside["curves"]} == {name for name in names if "TRL" in name}
    assert beside["rewards"].keys() <= names and "GRPO (TRL)" in beside["rewards"]
    assert "grpo" not in beside["sentence"] and not any("grpo" in pair["words"] for pair in beside["pairs"])


def test_runs_of_other_programs_alone_have_the_same_names(tmp_path):
    for arm, end in (("grpo", 0.7), ("dr_grpo", 0.1)):
        for seed in (0, 1):
            trl_state(tmp_path / f"{arm}-s{seed}", [0.1, end, end + seed / 100])
    document = displayed(analyze([], foreign=reader.read([["trl", str(tmp_path)]], alone=True)))
    assert "GRPO (TRL) is better than Dr.\u00a0GRPO (TRL)" in document["verdict"]["sentence"]
    assert [arm["name"] for arm in document["foreign"]["arms"]] == ["GRPO (TRL)", "Dr.\u00a0GRPO (TRL)"]
