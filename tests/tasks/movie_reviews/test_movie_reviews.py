"""Parsing and splitting, on made-up reviews in the real form."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align_lab.base.errors import ConfigError, DataError
from align_lab.tasks.movie_reviews import reviews as data
from align_lab.tasks.movie_reviews.reviews import PARTS, MovieReviews, Review
from tests.tasks.movie_reviews.corpus import synthetic_reviews, write_archive


def test_texts_and_every_rating_are_read(tmp_path):
    reviews = synthetic_reviews(20)
    result = data.parse(write_archive(tmp_path / "a.tar.gz", reviews))
    assert result == reviews


def test_the_escapes_of_the_data_set_are_undone(tmp_path):
    raw = {1: "''Lovely &amp; Amazing''  is  <b>\u2019fine\u2019 "}
    result = data.parse(write_archive(tmp_path / "a.tar.gz", synthetic_reviews(1), raw=raw))
    assert result[0].text == "\"Lovely & Amazing\" is <b>'fine'"


def test_a_review_without_ratings_is_named(tmp_path):
    with pytest.raises(DataError, match="number 3"):
        data.parse(write_archive(tmp_path / "a.tar.gz", synthetic_reviews(5), drop_rating=3))


def test_a_line_with_too_few_columns_is_named(tmp_path):
    with pytest.raises(DataError, match="line 2: 4 columns instead of 3"):
        data.parse(write_archive(tmp_path / "a.tar.gz", synthetic_reviews(5), raw={2: "two\tparts"}))


def test_every_review_is_in_exactly_one_part_and_the_sizes_are_met():
    reviews = [Review(f"{i} is a film of number {i}", (i % 9 - 4,)) for i in range(100)]
    parts = split(reviews, prompts=20, evaluation=30, development=10)
    assert {part: len(parts[part]) for part in PARTS} == {
        "proxy": 20,
        "gold": 20,
        "prompts": 20,
        "evaluation": 30,
        "development": 10,
    }
    assert sorted(review.text for part in PARTS for review in parts[part]) == sorted(review.text for review in reviews)


def split(reviews, *, seed=0, prompts, evaluation, development=0):
    sizes = {"prompts": prompts, "evaluation": evaluation, "development": development}
    return data.split(reviews, seed=seed, sizes=sizes, prompt_words=3)


def test_no_two_held_out_parts_have_an_opening_in_common():
    openings = [
        f"{word} film is"
        for word in [
            "a",
            "b",
            "c",
            "d",
            "e",
            "f",
            "g",
            "h",
            "i",
            "j",
            "k",
            "l",
            "m",
            "n",
            "o",
            "p",
            "q",
            "r",
            "s",
            "t",
            "u",
            "v",
            "w",
            "x",
            "y",
            "z",
        ]
    ]
    reviews = [Review(f"{opening} number {i}", (1,)) for i, opening in enumerate(openings * 3)]
    parts = split(reviews, prompts=9, evaluation=9, development=9)
    held_out = [{" ".join(review.text.split()[:3]) for review in parts[part]} for part in data.HELD_OUT]
    assert all(held_out)
    assert sum(map(len, held_out)) == len(set.union(*held_out))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.lists(st.sampled_from(["A bore.", "a bore", "Fine fun for us all"]), min_size=20))
def test_copies_never_come_into_two_parts(seed, texts):
    reviews = [Review(text, (1,)) for text in [*texts, *(f"unlike {i} other {i} ones {i}" for i in range(30))]]
    parts = split(reviews, seed=seed, prompts=5, evaluation=5)
    places = {}
    for part, rows in parts.items():
        for review in rows:
            places.setdefault(" ".join(data.words(review.text)), set()).add(part)
    assert all(len(result) == 1 for result in places.values())


def test_texts_that_share_eight_words_in_a_row_stay_together():
    a, b = "one two three four five six seven eight nine", "zero one two three four five six seven eight"
    assert data.related([a, "something else", b]) == [[0, 2], [1]]


def test_the_split_is_a_function_of_its_seed():
    reviews = [Review(f"{i} is film number {i}", (0,)) for i in range(60)]
    one, same, other = (split(reviews, seed=s, prompts=10, evaluation=10) for s in (1, 1, 2))
    assert one == same != other


def test_too_large_parts_say_what_to_set():
    with pytest.raises(
        DataError, match=r"data\.evaluation=9, data\.development=0, data\.prompts=9 leave nothing of 18"
    ):
        split([Review(f"{i} is film number {i}", (0,)) for i in range(18)], prompts=9, evaluation=9)


def test_a_part_that_cannot_be_filled_is_not_made_smaller_in_silence():
    alike = [Review(f"this is film number {i}", (0,)) for i in range(40)]
    others = [Review(f"{i} is film number {i}", (0,)) for i in range(40)]
    with pytest.raises(
        DataError, match=r"data\.prompts=40: of 80 reviews, \d+ are left for it.* Set data\.prompts smaller"
    ):
        split(alike + others, prompts=40, evaluation=10)


def test_what_is_built_is_loaded(tmp_path):
    reviews = [Review(f"{i} is film number {i}", (i % 9 - 4, 0)) for i in range(60)]
    data.build_reviews(tmp_path, MovieReviews(prompts=10, evaluation=10, development=5), reviews)
    result = data.load_reviews(tmp_path)
    assert {review for part in PARTS for review in getattr(result, part)} == set(reviews)
    assert result.examples("train")[0].text == " ".join(result.prompts[0].text.split()[:3])
    assert {one.completion for one in result.demonstrations("train")}.isdisjoint(
        review.text for review in (*result.prompts, *result.evaluation)
    )


def test_two_reviews_with_one_text_have_keys_of_their_own_and_the_first_keeps_that_of_its_text():
    first, copy, other = (Review(text, (1,)) for text in ("a b c d", "a b c d", "e f g h"))
    both, alone = (
        data.Reviews(proxy=(), gold=(), prompts=rows, evaluation=(), development=(), prompt_words=3).examples("train")
        for rows in ((first, copy, other), (first,))
    )
    assert [example.prompt for example in both] == ["a b c", "a b c", "e f g"]
    assert len({example.key for example in both}) == 3
    assert both[0].key == alone[0].key


def test_a_damaged_artefact_says_how_to_rebuild_it(tmp_path):
    (tmp_path / "reviews.jsonl").write_text('{"part": "proxy", "te')
    with pytest.raises(DataError, match="rm -r"):
        data.load_reviews(tmp_path)


def test_a_value_out_of_bounds_is_refused():
    with pytest.raises(ConfigError, match="prompt_words must be >= 1"):
        MovieReviews(prompt_words=0)
