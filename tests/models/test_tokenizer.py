"""Tokenization is lossless, and a review's opening has the same tokens as in the whole review."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align_lab.models.tokenizer import EOS, encode, train_tokenizer
from tests.tasks.movie_reviews.corpus import synthetic_reviews


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([review.text for review in synthetic_reviews(200)], vocab=400)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_decoding_the_tokens_of_any_text_returns_the_text(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids).removeprefix(" ") == text.removeprefix(" ")


def test_a_whole_text_has_one_end_token_and_a_truncated_text_has_none(tokenizer):
    short, long = encode(tokenizer, ["fine", "fine film " * 40], longest=20)
    assert short.count(tokenizer.token_to_id(EOS)) == 1 and short[-1] == tokenizer.token_to_id(EOS)
    assert len(long) == 20 and tokenizer.token_to_id(EOS) not in long


def test_an_opening_has_the_same_tokens_as_in_the_whole_text(tokenizer):
    for review in synthetic_reviews(50, seed=1):
        whole, opening = (tokenizer.encode(text).ids for text in (review.text, " ".join(review.text.split()[:3])))
        assert whole[: len(opening)] == opening


def test_the_same_texts_give_the_same_tokenizer(tokenizer):
    assert train_tokenizer([review.text for review in synthetic_reviews(200)], vocab=400).to_str() == tokenizer.to_str()
