"""Sequence classifiers as rewards: the numbers of transformers, labels, chat templates, truncation, wrong folders."""

import json
import shutil

import pytest
import torch

from align_lab.base.errors import DataError
from align_lab.base.task import Example, Message
from align_lab.rewards.hf_classifier import HFClassifier
from align_lab.testing import assert_contract
from tests.models.test_hf import LLAMA_LIKE, TEMPLATE
from tests.models.test_hf import folder as language_model

transformers = pytest.importorskip("transformers")

BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
CONFIGS = {
    "reward_model": lambda: transformers.LlamaConfig(**LLAMA_LIKE, num_labels=1),
    "three_labels": lambda: transformers.BertConfig(
        vocab_size=300, **BERT, id2label={0: "bad", 1: "fair", 2: "good"}, label2id={"bad": 0, "fair": 1, "good": 2}
    ),
}
TEXTS = ["", "a good film", "a film " * 9, "an ordinary, long-winded, but in the end good film"]
EXAMPLES = [Example.of_text(text) for text in ("This film is ", "The story", "It", "A")]


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """Folders with models of a few thousand random weights and the tokenizer of the language models' tests."""
    root = tmp_path_factory.mktemp("classifiers")
    language_model(root / "language_model", "llama", template=None)
    for name, config in CONFIGS.items():
        torch.manual_seed(0)
        model = transformers.AutoModelForSequenceClassification.from_config(config())
        for parameter in model.parameters():
            parameter.data = parameter.data * 5
        model.save_pretrained(root / name)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(root / "language_model" / file, root / name / file)
    shutil.copytree(root / "reward_model", root / "chat")
    (root / "chat" / "chat_template.jinja").write_text(TEMPLATE)
    return lambda name: str(root / name)


def logits(path, ids):
    """Of one row without padding, by transformers."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
    model.config.pad_token_id = 1
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]


def ids_of(path, text):
    return transformers.AutoTokenizer.from_pretrained(path)(text)["input_ids"]


def score(texts=TEXTS, examples=EXAMPLES, **fields):
    return HFClassifier(**fields).load(None).score(examples[: len(texts)], texts)


def test_a_reward_model_gives_its_logit_whatever_the_batch(at):
    path = at("reward_model")
    expected = [
        float(logits(path, ids_of(path, example.text + text))[0]) for example, text in zip(EXAMPLES, TEXTS, strict=True)
    ]
    assert len(set(expected)) == 4
    for batch_tokens in (1, 60, 8192):
        scored = score(path=path, batch_tokens=batch_tokens)
        assert scored.total == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert scored.parts == {"truncated": [0.0] * 4}


@pytest.mark.parametrize("label", ["good", "2"])
def test_the_named_label_of_several_counts(at, label):
    path = at("three_labels")
    rows = [logits(path, ids_of(path, one.text + text)) for one, text in zip(EXAMPLES, TEXTS, strict=True)]
    assert score(path=path, scored_label=label).total == pytest.approx(
        [float(row[2]) for row in rows], rel=1e-4, abs=1e-5
    )
    probability = score(path=path, scored_label=label, output="probability").total
    assert probability == pytest.approx([float(row.softmax(0)[2]) for row in rows], rel=1e-4)
    logarithm = score(path=path, scored_label=label, output="log_probability").total
    assert logarithm == pytest.approx([float(row.log_softmax(0)[2]) for row in rows], rel=1e-4)


def test_a_chat_template_gets_the_conversation(at):
    path = at("chat")
    turns = Example(key="1", prompt=(Message("system", "Be brief."), Message("user", "Why?")))
    totals = score(["So.", "So."], [turns, Example.of_text("Why?")], path=path).total
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    rendered = ["<|system|>Be brief.</s><|user|>Why?</s><|assistant|>So.</s>", "<|user|>Why?</s><|assistant|>So.</s>"]
    expected = [float(logits(path, tokenizer(text, add_special_tokens=False)["input_ids"])[0]) for text in rendered]
    assert totals == pytest.approx(expected, rel=1e-4, abs=1e-5)
    plain = score(["So."], [Example.of_text("Why?")], path=path, inputs="text").total
    assert plain == pytest.approx([float(logits(path, ids_of(path, "Why?So."))[0])], rel=1e-4, abs=1e-5)


def test_prompt_and_completion_can_be_a_pair(at):
    path = at("three_labels")
    ids = transformers.AutoTokenizer.from_pretrained(path)("The story", "a good film")["input_ids"]
    totals = score(["a good film"], [Example.of_text("The story")], path=path, scored_label="bad", inputs="pair").total
    assert totals == pytest.approx([float(logits(path, ids)[0])], rel=1e-4, abs=1e-5)


def test_a_long_text_loses_its_beginning_and_is_counted(at):
    path = at("reward_model")
    scored = score(["short", "word " * 40 + "end"], path=path, max_length=20)
    assert scored.parts["truncated"] == [0.0, 1.0]
    last = ids_of(path, EXAMPLES[1].text + "word " * 40 + "end")[-20:]
    assert scored.total[1] == pytest.approx(float(logits(path, last)[0]), rel=1e-4, abs=1e-5)
    beyond = score(["word " * 400], path=path)
    assert beyond.parts["truncated"] == [1.0], "the model has 256 positions"


def test_the_contract_of_a_reward(at):
    assert_contract("reward", "hf_classifier", path=at("reward_model"))


def test_its_files_are_those_of_the_folder(at):
    names = {file.name for file in HFClassifier(path=at("chat")).files()}
    assert names == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }
    assert HFClassifier(path="owner/name").files() == HFClassifier().files() == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "needs a model: set path=FOLDER"),
        ({"path": "/no/such/folder"}, "is neither an existing folder nor OWNER/NAME"),
        ({"path": "x" * 5000}, "is neither an existing folder nor OWNER/NAME"),
        ({"path": "owner/name"}, "Set revision=COMMIT, 40 hexadecimal digits"),
        ({"path": "owner/name", "revision": "main"}, "Set revision=COMMIT"),
    ],
)
def test_a_wrong_path_is_found_before_anything_starts(fields, expected):
    (message,) = HFClassifier(**fields).problems()
    assert expected in message and message.startswith("reward=hf_classifier: ")


def test_a_label_is_needed_where_there_are_several(at):
    (message,) = HFClassifier(path=at("three_labels")).problems()
    assert "has several labels: set scored_label=NAME. allowed: bad, fair, good" in message
    (message,) = HFClassifier(path=at("three_labels"), scored_label="god").problems()
    assert "has no label god" in message and "did you mean 'good'?" in message
    (message,) = HFClassifier(path=at("three_labels"), scored_label="3").problems()  # the last one is number 2
    assert "has no label 3" in message
    assert HFClassifier(path=at("three_labels"), scored_label="2").problems() == []
    assert HFClassifier(path=at("reward_model")).problems() == []


def test_pickles_code_and_models_without_a_head_are_refused(at, tmp_path):
    shutil.copytree(at("reward_model"), tmp_path / "pickle")
    (tmp_path / "pickle" / "model.safetensors").rename(tmp_path / "pickle" / "pytorch_model.bin")
    (message,) = HFClassifier(path=str(tmp_path / "pickle")).problems()
    assert "only safetensors are loaded" in message
    shutil.copytree(at("reward_model"), tmp_path / "code")
    config = json.loads((tmp_path / "code" / "config.json").read_text())
    (tmp_path / "code" / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "x.Y"}}))
    (message,) = HFClassifier(path=str(tmp_path / "code")).problems()
    assert "custom model code" in message
    with pytest.raises(DataError, match=r"is no sequence classifier: its weights lack score\.weight"):
        HFClassifier(path=at("language_model"), scored_label="0").load(None)
