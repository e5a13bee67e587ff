"""Each layout of rows gives the prompt, the answers and the columns that its data set means."""

import pytest

from align_lab.base.task import Message
from align_lab.data.dialogue import RowError
from align_lab.data.layouts import layout_of, record_of


def read(row):
    return record_of(row, layout_of(row))


def user(text):
    return Message("user", text)


def assistant(text):
    return Message("assistant", text)


def turns(*texts):
    """Messages as TRL writes them: the user's and the assistant's in turn."""
    return [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(texts)]


def test_a_prompt_alone_with_its_other_columns():
    record = read({"prompt": "Why?", "words": 3, "source": None})
    assert (record.prompt, record.completion, dict(record.columns)) == ("Why?", None, {"words": 3, "source": None})


def test_a_conversation_as_prompt():
    system = {"role": "system", "content": "Be brief."}
    record = read({"prompt": [system, *turns("Why?")]})
    assert record.prompt == (Message("system", "Be brief."), user("Why?"))


def test_prompt_and_completion_as_texts_and_as_messages():
    text = read({"prompt": "The sky", "completion": " is blue."})
    chat = read({"prompt": turns("Sky?"), "completion": [{"role": "assistant", "content": "Blue."}]})
    assert (text.prompt, text.completion) == ("The sky", " is blue.")
    assert (chat.prompt, chat.completion) == ((user("Sky?"),), "Blue.")
    assert text.columns["completion"] == " is blue."  # a reward may compare with it


def test_a_preference_with_an_explicit_prompt():
    record = read({"prompt": "Sky?", "chosen": "Blue.", "rejected": "Green.", "margin": 2.0})
    assert (record.prompt, record.chosen, record.rejected) == ("Sky?", "Blue.", "Green.")
    assert dict(record.columns) == {"margin": 2.0}
    chat = read({"prompt": turns("Sky?"), "chosen": turns("", "Blue.")[1:], "rejected": turns("", "Green.")[1:]})
    assert (chat.prompt, chat.chosen, chat.rejected) == ((user("Sky?"),), "Blue.", "Green.")


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ("The sky is blue.", "The sky is green.", ("The sky is", " blue.", " green.")),
        ("Sky? A: four", "Sky? A: five", ("Sky? A:", " four", " five")),  # not inside of a word
        ("What is it?\n\nBlue", "What is it?\n\nGreen", ("What is it?", "\n\nBlue", "\n\nGreen")),
        ("It is blue", "It is blue and white", ("It is", " blue", " blue and white")),
    ],
)
def test_an_implicit_prompt_of_texts_is_their_common_beginning_up_to_the_end_of_a_word(chosen, rejected, expected):
    record = read({"chosen": chosen, "rejected": rejected})
    assert (record.prompt, record.chosen, record.rejected) == expected
    assert record.prompt + record.chosen == chosen and record.prompt + record.rejected == rejected


def test_an_implicit_prompt_of_conversations():
    record = read({"chosen": turns("a", "b", "c", "good"), "rejected": turns("a", "b", "c", "bad")})
    assert (record.prompt, record.chosen, record.rejected) == ((user("a"), assistant("b"), user("c")), "good", "bad")


def test_hh_rlhf():
    common = "\n\nHuman: Hi: there\n\nAssistant: Hello.\n\nHuman: Why?\nReally?\n\nAssistant:"
    record = read({"chosen": f"{common} Because.", "rejected": f"{common} No idea\n\nat all."})
    assert record.prompt == (user("Hi: there"), assistant("Hello."), user("Why?\nReally?"))
    assert (record.chosen, record.rejected) == ("Because.", "No idea\n\nat all.")


def test_ultrafeedback():
    row = {
        "prompt": "Sky?",
        "prompt_id": "7",
        "chosen": turns("Sky?", "Blue."),
        "rejected": turns("Sky?", "Green."),
        "messages": turns("Sky?", "Blue."),
        "score_chosen": 8.0,
        "score_rejected": 3.0,
    }
    record = read(row)
    assert (record.prompt, record.chosen, record.rejected) == ((user("Sky?"),), "Blue.", "Green.")
    assert dict(record.columns) == {"prompt_id": "7", "score_chosen": 8.0, "score_rejected": 3.0}


def test_gsm8k():
    solution = "6 x 7 = <<6*7=42>>42.\n#### 42"
    record = read({"question": "6 x 7?", "answer": solution})
    assert (record.prompt, record.completion) == ("6 x 7?", solution)
    assert dict(record.columns) == {"answer": "42", "solution": solution, "question": "6 x 7?"}
    plain = read({"question": "6 x 7?", "answer": "42"})
    assert (plain.completion, plain.columns["answer"]) == (None, "42")


def test_tldr_with_a_label_and_as_a_comparison():
    assert read({"prompt": "POST: long\n\nTL;DR:", "label": " short"}).completion == " short"
    info = {"subreddit": "cats", "title": "My cat", "post": "It sleeps."}
    row = {"info": info, "summaries": [{"text": "Cat."}, {"text": "A cat sleeps."}], "choice": 1, "worker": "w"}
    record = read(row)
    assert record.prompt == "SUBREDDIT: r/cats\n\nTITLE: My cat\n\nPOST: It sleeps.\n\nTL;DR:"
    assert (record.chosen, record.rejected, dict(record.columns)) == ("A cat sleeps.", "Cat.", {"worker": "w"})


@pytest.mark.parametrize(("label", "good"), [(True, True), (False, False), ("true", True), (0, False)])
def test_an_unpaired_preference(label, good):
    record = read({"prompt": "Sky?", "completion": "Blue.", "label": label})
    assert (record.prompt, record.completion, record.label) == ("Sky?", "Blue.", good)


def test_a_whole_conversation_is_a_prompt_and_its_last_answer():
    record = read({"messages": turns("a", "b", "c", "d")})
    assert (record.prompt, record.completion) == ((user("a"), assistant("b"), user("c")), "d")
    asked = read({"conversations": [{"from": "human", "value": "a"}]})
    assert (asked.prompt, asked.completion) == ((user("a"),), None)


def test_a_text_answers_no_prompt():
    record = read({"text": "Once."})
    assert (record.prompt, record.completion, record.prompted) == ("", "Once.", False)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": 7}, "its prompt is no list of messages"),
        ({"prompt": turns("a", "b")}, "does not end with a message of the user"),
        ({"prompt": [{"role": "robot", "content": "a"}]}, "whose role is 'robot'"),
        ({"prompt": [{"role": "user", "content": None}]}, "whose content is NoneType"),
        ({"chosen": turns("a", "b"), "rejected": turns("x", "y")}, "its chosen is not one answer of the assistant"),
        ({"prompt": "a", "completion": "b", "label": "maybe"}, "its label is neither true nor false"),
        ({"info": {}, "summaries": [], "choice": 0}, "its summaries are not two"),
    ],
)
def test_a_row_that_does_not_fit_its_layout_says_why(row, expected):
    with pytest.raises(RowError, match=expected):
        read(row)


def test_a_later_row_without_a_column_says_what_is_there_and_what_to_type():
    layout = layout_of({"prompt": "a", "completion": "b"})
    with pytest.raises(RowError) as error:
        record_of({"prompt": "a", "solution": "b"}, layout)
    assert "it has no column completion (its columns: prompt, solution)" in str(error.value)
    assert "data.columns.completion=NAME" in str(error.value)
