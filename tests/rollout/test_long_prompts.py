"""Prompts that are too long for the model: refused with what to type, left out, or truncated from the left."""

import pytest

from align_lab.base.errors import DataError
from align_lab.base.progress import listening
from align_lab.base.task import Example, Message, PromptForm
from align_lab.models.text import Text
from align_lab.models.tokenizer import train_tokenizer
from align_lab.rollout.prompts import Prompts

TEMPLATE = "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}{% endfor %}[answer]"
TEXTS = ["a b c", " ".join(f"w{i}" for i in range(60)), "d e"]


class Notices:
    def __init__(self):
        self.lines = []

    def notice(self, text):
        self.lines.append(text)

    def progress(self, done, total):
        pass


@pytest.fixture(scope="module", params=[None, TEMPLATE], ids=["base", "chat"])
def text(request):
    tokenizer = train_tokenizer(["a b c d e", *(f"w{i}" for i in range(60))], vocab=300)
    return Text(tokenizer=tokenizer, eos=0, template=request.param)


def prompts(text, texts, too_long, *, context=100):
    examples = [one if isinstance(one, Example) else Example.of_text(one) for one in texts]
    form = PromptForm(too_long=too_long)
    listener = Notices()
    with listening(listener):
        return Prompts.encode(examples, text, context=context, new=10, form=form, split="train"), listener.lines


def test_by_default_they_are_refused_and_the_message_counts_and_quotes_them(text):
    with pytest.raises(DataError) as error:
        prompts(text, TEXTS, "error")
    message = str(error.value)
    assert "1 of 3 prompts of train has more than 90 tokens" in message and "'w0 w1 w2" in message
    assert "data.too_long=drop or truncate" in message


def test_drop_leaves_them_out_and_says_how_many(text):
    kept, notices = prompts(text, TEXTS, "drop")
    assert [example.text for example in kept.examples] == ["a b c", "d e"] and len(kept.ids) == 2
    assert len(notices) == 1 and "1 of 3 prompts of train" in notices[0] and "left out" in notices[0]


def test_truncate_keeps_as_much_of_the_end_as_fits(text):
    kept, notices = prompts(text, TEXTS, "truncate")
    assert [example.key for example in kept.examples] == [Example.of_text(one).key for one in TEXTS]
    shorter = kept.examples[1].text
    assert TEXTS[1].endswith(shorter) and len(shorter) > 20
    assert 85 <= len(kept.ids[1]) <= 90 and "truncated from the left" in notices[0]
    assert kept.ids[1] == text.prompts([kept.examples[1]])[0]


def test_truncate_drops_the_earliest_turns_of_a_conversation_first_and_never_the_system_message(text):
    turns = [Message(role, f"{role} {i} " + "a b c d e " * 3) for i in range(9) for role in ("user", "assistant")]
    conversation = (Message("system", "Be brief."), *turns, Message("user", "a b c"))
    kept, _ = prompts(text, [Example(key="1", prompt=conversation)], "truncate", context=250)
    (example,) = kept.examples
    assert example.prompt[0] == conversation[0] and example.prompt[-1] == conversation[-1]
    assert example.prompt[1].role == "user" and 2 < len(example.prompt) < len(conversation)
    assert example.prompt[1:] == conversation[-len(example.prompt) + 1 :] and len(kept.ids[0]) <= 240


def test_a_system_message_that_fills_the_context_is_refused(text):
    conversation = (Message("system", "a b c d e " * 30), Message("user", "a b"))
    with pytest.raises(DataError, match="its system message or the chat template are too long"):
        prompts(text, [Example(key="k", prompt=conversation)], "truncate")


def test_where_all_are_too_long_nothing_is_left(text):
    with pytest.raises(DataError, match="leaves none"):
        prompts(text, TEXTS, "drop", context=11)
