"""A task of conversations without texts to imitate, on a local Hugging Face model, with a reward and no judges."""

import pytest

from tests.models.test_hf import folder
from tests.outside.conftest import QUESTIONS, Lab

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """`model.path` of a chat model of a few thousand weights."""
    return f"model.path={folder(tmp_path_factory.mktemp('chat_model'), 'llama')}"


@pytest.fixture(scope="module")
def whole(lab: Lab, model):
    return lab(*QUESTIONS, model, "algo=rloo", "study=asked")[0]


def test_a_model_that_cannot_write_is_refused_before_anything_is_built(lab):
    _, err = lab("data=questions", "reward=word_count", "plugins=[small_tasks]", "study=refused", expected=2)
    assert "model=tiny learns to write from the data's demonstrations, and data=questions has none" in err
    assert not (lab.folder / "runs" / "refused").exists()


def test_a_chat_model_answers_and_the_reward_decides_where_there_is_no_judge(lab, whole):
    rows, samples = lab.rows("asked"), lab.samples("asked")
    assert rows[-1]["eval/score_se"] > 0 and not any(key.startswith("eval/number") for key in rows[-1])
    assert samples[0]["prompt"] == "system: Answer briefly.\nuser: How many? Say 3 words."
    for row in samples:
        asked = int(row["prompt"].split("Say ")[1].split()[0])
        words = "".join(letter if letter.isalnum() or letter == "_" else " " for letter in row["completion"]).split()
        assert row["score"] == pytest.approx(-abs(len(words) - asked) - (0 if row["ended"] else 1))
    assert set(lab.manifest("asked")["metrics"]) >= {"eval/score", "eval/score_se"}
    assert "against the start policy, by score" in whole and "judge" not in whole


def test_preference_pairs_of_conversations(lab, model, whole):
    lab(*QUESTIONS, model, "algo=dpo", "study=asked_pairs")
    assert "rewards/margins" in lab.rows("asked_pairs")[-1]


def test_chat_asks_the_way_that_the_data_asks(lab, whole):
    start, trained = lab("chat", str(lab.run("asked")), typed="How many?\n")[0].split("trained")
    assert start.split()[0] == "start" and "How many?" not in start + trained  # an answer, not a text that goes on


def test_a_data_file_that_changes_between_two_seeds_is_not_compared(own_lab, model):
    for seed, text in enumerate(("How many?", "How few?")):
        own_lab.write_questions(text)
        own_lab(*QUESTIONS, model, "algo=rloo", "study=changed", "train.steps=2", f"seed={seed}")
    _, err = own_lab("compare", "changed", expected=3)
    assert "files" in err and "data" in err and "plugins" not in err
