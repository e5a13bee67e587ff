"""`length`, `format` and `regex`: their scores on texts, and what they refuse."""

import pytest

from align_lab.base.task import Example, Failure
from align_lab.rewards.format_match import FormatMatch
from align_lab.rewards.length import Length
from align_lab.rewards.regex_count import RegexCount

GOOD = "<think>a\nb</think>\n<answer>4</answer>"
BACKTRACKS = "a" * 60 + "!"


def totals(reward, *texts):
    assert reward.problems() == []
    return reward.load(None).score([Example.of_text("p")] * len(texts), texts).total


@pytest.mark.parametrize(
    ("fields", "text", "score"),
    [
        ({"longest": 3, "margin": 4}, "one two three", 0),
        ({"longest": 3, "margin": 4}, "one two three four", -0.25),
        ({"longest": 3, "margin": 4}, "word " * 100, -1),
        ({"shortest": 5, "longest": 5, "margin": 10}, "one two three", -0.2),
        ({"shortest": 5, "longest": 5, "margin": 10}, "", -0.5),
        ({"count": "characters", "longest": 3, "margin": 2}, "abcd", -0.5),
    ],
)
def test_length_costs_nothing_inside_the_range_and_falls_to_minus_one_outside(fields, text, score):
    assert totals(Length(**fields), text) == [pytest.approx(score)]


@pytest.mark.parametrize(
    ("form", "text", "score"),
    [
        ("think_answer", GOOD, 1),
        ("think_answer", f"  {GOOD}\n", 1),
        ("think_answer", f"well, {GOOD}", 0),
        ("think_answer", f"{GOOD} and more", 0),
        ("think_answer", "<think>a</think><think>b</think><answer>4</answer>", 0),
        ("think_answer", "<answer>4</answer><think>a</think>", 0),
        ("think_answer", "", 0),
        ("think", "<think>a</think> the answer is 4", 1),
        ("think", "the answer <think>a</think>", 0),
        ("answer", "because\n<answer>4</answer>\n", 1),
        ("answer", "<answer>4</answer> because", 0),
        ("tags", GOOD, 1),
        ("tags", "<think>a</think> 4", 0.5),
        ("tags", "<think><think>a</think> 4", 0.25),
        ("json_object", ' {"a": [1, 2]}\n', 1),
        ("json_object", "[1, 2]", 0),
        ("json_object", '{"a": 1} and more', 0),
        ("json_object", "[" * 100_000, 0),
    ],
)
def test_format_is_one_for_texts_of_the_form(form, text, score):
    assert totals(FormatMatch(form=form), text) == [score]


def test_a_pattern_of_ones_own_has_to_match_the_whole_text():
    reward = FormatMatch(form="pattern", pattern="Answer: [0-9]+")
    assert totals(reward, "Answer: 42", "Answer: 42.", "My Answer: 42") == [1, 0, 0]


@pytest.mark.parametrize(
    ("fields", "text", "score"),
    [
        ({"pattern": "[0-9]+"}, "1 and 22", 1),
        ({"pattern": "[0-9]+"}, "none", 0),
        ({"pattern": "[0-9]+", "mode": "absence"}, "1", 0),
        ({"pattern": "[0-9]+", "mode": "absence"}, "none", 1),
        ({"pattern": "[0-9]+", "mode": "count"}, "1 and 22", 2),
        ({"pattern": "[0-9]", "mode": "count", "at_most": 3}, "123456", 3),
        ({"pattern": "(?i)please"}, "PLEASE", 1),
    ],
)
def test_regex_counts_occurrences(fields, text, score):
    assert totals(RegexCount(**fields), text) == [score]


@pytest.mark.parametrize(
    "reward",
    [
        RegexCount(pattern=r"^(a|a)*$", seconds=0.1),
        RegexCount(pattern=r"^(a|a)*$", mode="count", seconds=0.1),
        FormatMatch(form="pattern", pattern=r"(a|a)*", seconds=0.1),
    ],
)
def test_a_pattern_that_backtracks_without_end_is_a_failure_of_that_text_alone(reward):
    bad, good = totals(reward, BACKTRACKS, "aab")
    assert isinstance(bad, Failure) and "more than 0.1 s" in bad.reason and "nested repetitions" in bad.reason
    assert isinstance(good, float)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (RegexCount(), "reward.pattern is empty. Type"),
        (RegexCount(pattern="(a"), "reward.pattern=(a: it is no regular expression: missing )"),
        (FormatMatch(form="pattern"), "reward.pattern is empty"),
        (FormatMatch(form="think", pattern="a"), "Set reward.form=pattern to use reward.pattern"),
        (Length(shortest=9, longest=3), "Set reward.longest=9 or more"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_type(reward, message):
    (problem,) = reward.problems()
    assert message in problem
