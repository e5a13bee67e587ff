"""Prompts that are too long for the model: refused with what to type, left out, or truncated from the left."""

import pytest

from align_lab.base.errors import DataError
from align_lab.base.progress import listening
from align_lab.base.task import Example, Message, PromptForm
from align_lab.models.text import Text
from align_lab.models.tokenizer import train_tokenizer
from align_lab.rollout.long_prompts import truncated
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


def test_a_prompt_that_fits_exactly_stays_and_one_token_more_is_too_long(text):
    (ids,) = text.prompts([Example.of_text(TEXTS[1])])
    kept, notices = prompts(text, TEXTS[1:2], "error", context=len(ids) + 10)
    assert kept.ids == [ids] and not notices
    with pytest.raises(DataError, match=f"1 of 1 prompts of train has more than {len(ids) - 1} tokens"):
        prompts(text, TEXTS[1:2], "error", context=len(ids) + 9)


@pytest.mark.parametrize(("count", "more"), [(3, False), (4, True)])
def test_three_long_prompts_are_quoted(text, count, more):
    with pytest.raises(DataError) as error:
        prompts(text, [f"{i} {TEXTS[1]}" for i in range(count)], "error")
    assert str(error.value).count(" tokens)") == 3 and ("tokens), ..." in str(error.value)) == more


def test_a_text_of_which_nothing_would_be_left_is_refused(text):
    """Its template alone fills what a prompt may have; without a template that is nothing at all."""
    example = Example.of_text("a b c")

    def encode(one):
        return text.prompts([one])[0]

    content = len(text.tokenizer.encode("a b c", add_special_tokens=False).ids)
    template = len(encode(example)) - content
    with pytest.raises(DataError, match=f"does not fit into {template} tokens, however much"):
        truncated(example, encode, text, template)


def test_one_token_of_a_prompt_may_stay_and_none_may_not():
    plain = Text(tokenizer=train_tokenizer(["a b c d e"], vocab=300), eos=0)
    kept, _ = prompts(plain, ["a b c"], "truncate", context=11)
    assert kept.examples[0].text.strip() == "c" and len(kept.ids[0]) == 1
    with pytest.raises(DataError, match="has more than 0 tokens"):
        prompts(plain, ["a b c"], "truncate", context=10)


def test_where_all_are_too_long_nothing_is_left(text):
    with pytest.raises(DataError, match="leaves none"):
        prompts(text, TEXTS, "drop", context=11)
