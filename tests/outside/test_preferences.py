"""A task whose data has preference pairs: learned from directly, through a reward model, and compared."""

import json

import pytest

from tests.models.test_hf import folder
from tests.outside.conftest import SUMS

REWARD_MODEL = [*SUMS, "reward=reward_model", "reward.epochs=4", "reward.lr=0.003"]


@pytest.fixture(scope="module")
def direct(lab):
    """DPO on the pairs of the data, and what it printed."""
    return lab(*SUMS, "algo=dpo", "preferences.source=data", "preferences.pairs=null", "study=sources")[0]


@pytest.fixture(scope="module")
def learned(lab):
    """RLOO on a reward model of the same pairs, and what it printed."""
    return lab(*REWARD_MODEL, "algo=rloo", "study=learned")[0]


def test_dpo_learns_from_the_pairs_of_the_data_and_is_charged_a_label_a_pair(lab, direct):
    assert "200 of 200 preference pairs of the data are used" in direct
    rows = lab.rows("sources")
    assert [row["budget/labels"] for row in rows] == [8 * row["step"] for row in rows]
    assert [row["episode"] for row in rows] == [16 * row["step"] for row in rows]
    assert {row["budget/tokens"] for row in rows} == {0}
    assert rows[-1]["rewards/margins"] != 0
    spent = lab.manifest("sources")["spent"]
    assert spent["labels"] == spent["preference_pairs"] == rows[-1]["budget/labels"] and spent["tokens"] == 0


def test_compare_names_what_the_arms_learned_from(lab, direct):
    lab(*SUMS, "algo=rloo", "study=sources")
    document = json.loads(lab("compare", "sources", "--json")[0])
    assert {"field": "preferences.source", "values": {"dpo": "data", "rloo": "reward"}} in document["comparability"][
        "recipes"
    ]
    labels = {arm["arm"]: arm["labels"] for arm in document["comparability"]["charged"]}
    assert labels["dpo"] * 2 == labels["rloo"]  # as many completions, half as many labels
    assert any("dpo from 32 labels, one for each pair" in note for note in document["notes"])
    assert any(
        "rloo learned from the reward: the arms did not get the same information" in note for note in document["notes"]
    )


def test_a_reward_model_of_the_pairs_is_trained_shown_and_optimized(lab, learned):
    assert "building reward model" in learned and "reward model: accuracy" in learned
    assert "reward model score" in learned
    name = lab.manifest("learned")["artefacts"]["reward"]
    measured = json.loads((lab.cache / "artefacts" / name / "metrics.json").read_text())
    assert measured["pairs"] == 48 and 0 <= measured["accuracy"] <= 1 and measured["training_pairs"] == 200
    assert lab.manifest("learned")["hashes"]["reward"]
    samples = lab.samples("learned")
    assert len({row["score"] for row in samples}) > 5


def test_ppo_max_starts_its_critic_from_the_reward_model(lab, learned):
    lab(
        *REWARD_MODEL,
        "algo=ppo_max",
        "study=critic",
        "train.steps=2",
        "algo.ptx_coef=0",
        "algo.critic_pretrain_steps=1",
    )
    assert "loss/value_avg" in lab.rows("critic")[-1]


def test_a_reward_model_judges_a_model_of_another_family(lab, tmp_path):
    pytest.importorskip("transformers")
    other = folder(tmp_path, "gpt2")
    judge = f"evaluation.judges.learned={{name:reward_model,backbone:{other},lr:0.001}}"
    lab(*SUMS, "algo=rloo", "study=judged", "train.steps=1", judge)
    assert "eval/learned" in lab.rows("judged")[-1]
