"""Fine-tuning on prompts and completions: which tokens count, and released models whose start policy it makes."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from align_lab.base import registry
from align_lab.base.component import Component
from align_lab.base.contracts import Data
from align_lab.base.errors import ConfigError, DataError
from align_lab.base.progress import listening
from align_lab.base.task import DataSet, Demonstration, Example, Message
from align_lab.config.composition import compose
from align_lab.models.lora import is_adapted
from align_lab.models.policy import Policy, load_policy
from align_lab.models.text import PLAIN, Text
from align_lab.models.written import written
from align_lab.stages import dependencies
from align_lab.stages.store import Store
from align_lab.train import sft
from align_lab.train.imitated import imitated
from tests.models.test_hf import folder
from tests.train import small

QUESTION = (Message("system", "Be brief."), Message("user", "How is it?"))
SAID = [Demonstration(prompt="the film", completion=" is good"), Demonstration(prompt="a plot", completion=" is bad")]


class Notices:
    """Collects what is shown."""

    def __init__(self):
        self.texts = []

    def notice(self, text):
        self.texts.append(text)

    def progress(self, done, total):
        """Not kept."""


class Answers(DataSet):
    """Sixteen questions, each with the same answer."""

    def examples(self, split):
        return [Example.of_text(f"is film {i} good") for i in range(16)]

    def demonstrations(self, split):
        return [Demonstration(prompt=one.prompt, completion=" it is") for one in self.examples(split)]


@dataclass(frozen=True, kw_only=True)
class AnswersData(Data):
    """Registered for these tests alone."""

    demonstrated: ClassVar = True

    def has_demonstrations(self):
        return self.demonstrated

    def build(self, folder):
        (folder / "answers").write_text("")

    def load(self, folder):
        return Answers()


@dataclass(frozen=True, kw_only=True)
class OnlyPromptsData(AnswersData):
    """The same without demonstrations."""

    demonstrated: ClassVar = False


@pytest.fixture(scope="module", autouse=True)
def registered():
    registry.scan()
    mine = {"sft_answers": AnswersData, "sft_prompts": OnlyPromptsData}
    for name, component in mine.items():
        registry.register("data", name)(component)
    yield
    for name in mine:
        del registry._components["data", name]


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A chat model of transformers as it was released."""
    return folder(tmp_path_factory.mktemp("released"), "qwen2")


@pytest.fixture
def policy():
    return Policy(small.model(), Text(tokenizer=small.tokenizer(), eos=0))


def loss_of(policy, prompt, completion):
    """-log p of a completion and the end token, and the number of these tokens, from a softmax over all logits."""
    ids = [*prompt, *completion, 0]
    logp = (policy.model.hidden(torch.tensor([ids]))[0] @ policy.model.head.t()).log_softmax(-1)
    counted = range(len(prompt), len(ids))
    return -sum(logp[i - 1, ids[i]].item() for i in counted), len(counted)


def test_the_loss_is_that_of_the_completion_and_its_end_alone(policy):
    rows = imitated(policy, SAID)
    nats, tokens = sft.total_loss(policy.model, rows.sequences, rows.starts)
    expected = [
        loss_of(policy, *(policy.tokenizer.encode(part).ids for part in (one.prompt, one.completion))) for one in SAID
    ]
    assert tokens == sum(count for _, count in expected)
    assert nats == pytest.approx(sum(loss for loss, _ in expected), rel=1e-5)


def test_all_tokens_count_where_the_plan_says_so_and_in_a_text_without_a_prompt(policy):
    whole = [policy.tokenizer.encode(one.prompt + one.completion).ids for one in SAID]
    everything = imitated(policy, SAID, loss_on="all")
    assert everything.sequences == [[*ids, 0] for ids in whole] and everything.starts == [0, 0]
    texts = imitated(policy, [Demonstration(completion=one.text) for one in SAID])
    assert texts == everything


def test_the_shortest_text_is_one_token_and_its_end(policy):
    (token,) = policy.tokenizer.encode("a").ids
    rows = imitated(policy, [Demonstration(completion="a")])
    assert (rows.sequences, rows.starts) == ([[token, 0]], [0])
    assert sft.total_loss(policy.model, rows.sequences, rows.starts)[1] == 1


@pytest.mark.parametrize(("loss_on", "words"), [("completion", 5), ("all", 9)])
def test_a_loss_a_word_counts_the_words_in_which_the_loss_is(policy, tmp_path, loss_on, words):
    plan = sft.FineTuning(epochs=1, lr=1e-4, loss_on=loss_on)
    sft.build_sft(tmp_path, policy, plan, train_on=SAID, held_out=[*SAID, Demonstration(completion="a")])
    measured = json.loads((tmp_path / "metrics.json").read_text())
    trained = load_policy(tmp_path)
    said = [(one.prompt, one.completion) for one in SAID]
    parts = [[trained.tokenizer.encode(text).ids for text in pair] for pair in said]
    given = parts if loss_on == "completion" else [[[], prompt + completion] for prompt, completion in parts]
    losses = [whole_loss(trained, *pair) for pair in [*given, [[], trained.tokenizer.encode("a").ids]]]
    nats, tokens = (sum(column) for column in zip(*losses, strict=True))
    assert measured["loss_per_token"] == pytest.approx(nats / tokens, rel=1e-4)
    assert measured["loss_per_word"] == pytest.approx(nats / words, rel=1e-4)


def whole_loss(policy, prompt, completion):
    """The same where there may be no prompt: then the first token is given."""
    return loss_of(policy, prompt, completion) if prompt else loss_of(policy, completion[:1], completion[1:])


def test_training_moves_only_what_follows_the_prompt(policy):
    """A prompt that is a lie is not learned: its loss stays far above that of the completion."""
    prompt, completion = "bad bad bad", " is good"
    rows = imitated(policy, [Demonstration(prompt=prompt, completion=completion)] * 8)
    sft.train(policy.model, rows.sequences, sft.FineTuning(epochs=60, lr=3e-3, batch_tokens=64), starts=rows.starts)
    ids = [policy.tokenizer.encode(part).ids for part in (prompt, completion)]
    answer, answered = loss_of(policy, *ids)
    prompted, count = loss_of(policy, [ids[0][0]], ids[0][1:])
    assert answer / answered < 0.1 < 1 < prompted / count


def test_a_conversation_is_rendered_by_the_template_and_a_text_alone_is_not(released):
    text = load_policy(released).text
    rows = imitated(
        load_policy(released),
        [Demonstration(prompt=QUESTION, completion="Good."), Demonstration(completion="a good film")],
    )
    start = rows.starts[0]
    shown = text.tokenizer.decode(rows.sequences[0][:start], skip_special_tokens=False)
    assert shown == "<|system|>Be brief.</s><|user|>How is it?</s><|assistant|>"
    assert text.tokenizer.decode(rows.sequences[0][start:], skip_special_tokens=False) == "Good.</s>"
    assert rows.starts[1] == 0
    assert text.tokenizer.decode(rows.sequences[1], skip_special_tokens=False) == "a good film</s>"


def test_a_completion_whose_first_token_would_reach_into_the_prompt_is_tokenized_alone():
    text = Text(tokenizer=small.tokenizer(), eos=0)
    (row,) = written(text, [Example.of_text("the fil")], ["m is good"])
    assert row.prompt == text.tokenizer.encode("the fil").ids == text.prompts([Example.of_text("the fil")])[0]
    assert text.tokenizer.decode([*row.prompt, *row.completion]) == "the film is good"
    assert row.completion[-1] == 0


def test_demonstrations_without_room_for_a_completion_are_left_out_counted_and_refused_if_none_is_left(policy):
    long = Demonstration(prompt="good " * 30, completion="film")
    shown = Notices()
    with listening(shown):
        assert len(imitated(policy, [*SAID, long]).sequences) == 2
    assert shown.texts == ["1 of 3 demonstrations are left out: no room for their completions"]
    with pytest.raises(DataError, match="none of the 1 demonstrations fits into the model's context of 24"):
        imitated(policy, [long])


def hf(path, **fields):
    return compose(["model=hf", f"model.path={path}", *(f"model.{name}={value}" for name, value in fields.items())])


def stage_of(cfg, data="sft_answers"):
    return dependencies.policy_stage(cfg["model"], dependencies.data_stage({"name": data}), form=PLAIN)


def test_a_released_model_is_fine_tuned_into_a_folder_of_its_own(released, tmp_path):
    plain, tuned = (
        hf(released, **{"sft.epochs": epochs, "sft.lr": 0.01, "sft.batch_tokens": 128}) for epochs in (0, 8)
    )
    store, base, stage = Store(tmp_path), stage_of(plain), stage_of(tuned)
    assert stage.kind == "sft" and base.key in {one.key for one in stage.inputs}
    built = store.get(stage).path
    assert store.has(base.name)
    adapted = tuned.model.load(built)
    before = sft.total_loss(load_policy(released).model, *tokens_of(load_policy(released)))
    after = sft.total_loss(adapted.model, *tokens_of(adapted))
    assert after[0] < before[0] / 2 and after[1] == before[1]
    held_out = json.loads((built / "metrics.json").read_text())
    assert held_out["loss_per_token"] == pytest.approx(after[0] / after[1], rel=1e-4)
    assert adapted.text.template == load_policy(released).text.template
    lora = hf(released, **{"sft.epochs": 8, "sft.lr": 0.01, "sft.batch_tokens": 128, "lora.rank": 2})
    assert stage_of(lora).key == stage.key and is_adapted(lora.model.load(built).model)
    assert stage_of(hf(released, **{"sft.epochs": 4})).key != stage.key


def tokens_of(policy):
    rows = imitated(policy, Answers().demonstrations("train"))
    return rows.sequences, rows.starts


def test_a_model_that_is_not_fine_tuned_has_the_key_that_it_had_before_there_was_fine_tuning(released):
    stage = stage_of(hf(released))
    assert stage.settings.keys() == {"name", "path", "revision", "chat", "version"} and not stage.inputs


def test_fine_tuning_without_demonstrations_is_refused_before_anything_is_built(released):
    fields = ["model=hf", f"model.path={released}", "model.sft.epochs=1", "data=sft_prompts", "reward=vader"]
    with pytest.raises(ConfigError) as error:
        compose(fields)
    assert "model=hf is to be fine-tuned on the data's demonstrations, and data=sft_prompts has none" in str(
        error.value
    )
    assert "Set model.sft.epochs=0" in str(error.value)


def test_only_pretrained_models_have_a_base_that_fine_tuning_starts_from():
    for name in registry.names("model"):
        component: Component = registry.lookup("model", name)
        assert component.pretrained == (name != "tiny"), name
