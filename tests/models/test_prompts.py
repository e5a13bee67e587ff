"""Tokens of prompts: texts, instructions and conversations, against transformers' own rendering of the template."""

import pytest

from align_lab.base.task import Example, Message, PromptForm
from align_lab.models.text import read_text
from tests.models.test_hf import folder

transformers = pytest.importorskip("transformers")
CONVERSATION = (Message("system", "Be brief."), Message("user", "Why? ÄÖ"), Message("assistant", "So."))
CONTINUED = PromptForm(instruction="Continue: {prompt}", chat="continuation")
ASKED = (*CONVERSATION, Message("user", "And then?"))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("chat"), "llama")


@pytest.fixture(scope="module")
def theirs(path):
    return transformers.AutoTokenizer.from_pretrained(path)


def rendered(tokenizer, messages):
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)


def test_a_conversation_has_the_tokens_that_transformers_gives_it(path, theirs):
    turns = [{"role": turn.role, "content": turn.content} for turn in ASKED]
    expected = theirs(rendered(theirs, turns), add_special_tokens=False)["input_ids"]
    assert read_text(path).prompts([Example(key="1", prompt=ASKED)], PromptForm(instruction="never used {prompt}")) == [
        expected
    ]


def test_a_text_is_the_question_that_a_chat_model_answers(path, theirs):
    question = [{"role": "user", "content": "Briefly: Why?"}]
    expected = theirs(rendered(theirs, question), add_special_tokens=False)["input_ids"]
    assert read_text(path).prompts([Example.of_text("Why?")], PromptForm(instruction="Briefly: {prompt}")) == [expected]


def test_a_text_to_continue_is_asked_for_by_the_instruction_and_begins_the_answer(path, theirs):
    question = [{"role": "user", "content": "Continue: The film"}]
    expected = theirs(rendered(theirs, question) + "The film", add_special_tokens=False)["input_ids"]
    assert read_text(path).prompts([Example.of_text("The film")], CONTINUED) == [expected]


def test_without_a_template_a_text_is_continued_and_a_conversation_is_shown_turn_by_turn(path, theirs):
    text = read_text(path, chat=False)
    examples = [Example.of_text("The film"), Example(key="1", prompt=ASKED[-1:])]
    assert text.prompts(examples, CONTINUED) == [
        theirs("The film")["input_ids"],
        theirs("user: And then?")["input_ids"],
    ]
