"""Examples, their keys and their texts."""

import hashlib

from align_lab.base.task import Example, Message, content_key


def test_a_key_is_the_first_64_bits_of_the_sha256_of_the_parts():
    assert content_key("abc") == "ba7816bf8f01cfea"  # FIPS 180-2, appendix B.1
    assert content_key("a", "b") == hashlib.sha256(b"a\x00b").hexdigest()[:16]


def test_parts_are_separated_so_that_two_splits_of_one_text_have_two_keys():
    assert len({content_key("ab", "c"), content_key("a", "bc"), content_key("abc")}) == 3


def test_an_example_of_a_text_has_the_key_of_its_prompt_whatever_its_columns_are():
    example = Example.of_text("abc", answer=7)
    assert (example.key, example.prompt, dict(example.columns)) == ("ba7816bf8f01cfea", "abc", {"answer": 7})
    assert Example.of_text("abc").key == example.key


def test_the_text_of_a_conversation_shows_one_turn_a_line():
    turns = (Message("system", "Be brief."), Message("user", "Why?"))
    assert Example(key="1", prompt=turns).text == "system: Be brief.\nuser: Why?"
    assert Example(key="2", prompt="3 + 4 =").text == "3 + 4 ="
