"""Verified answers: what is extracted, what is right, and what is a failure instead of a 0."""

import json
import time

import pytest

from align_lab.base.task import Example, Failure
from align_lab.data.files import FileData
from align_lab.rewards.verifier import Verifier
from align_lab.tasks.movie_reviews.reviews import MovieReviews
from align_lab.testing import assert_contract


def outcome(completion, *, answer="42", **settings):
    """(total, accuracy, format, readable) of one completion."""
    score = Verifier(**{"kind": "exact", **settings}).score([Example.of_text("?", answer=answer)], [completion])
    return score.total[0], *(score.parts[name][0] for name in ("accuracy", "format", "readable"))


def test_it_keeps_the_contract():
    for kind in ("exact", "numeric", "reasoning_gym"):
        assert_contract("reward", "verifier", kind=kind)


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("40 + 2 = 42 <answer>42</answer>", (1, 1, 1, 1)),
        ("<answer>7</answer> no: <answer> 42 </answer> indeed", (1, 1, 1, 1)),  # the last one counts, without blanks
        ("<answer>41</answer> 42", (0, 0, 1, 1)),
        ("<answer></answer>\n42", (0, 0, 1, 0)),  # the format is there, and no answer in it
        ("I think:\n42", (1, 1, 0, 1)),
        ("I think: 42", (0, 0, 0, 1)),
        ("<answer>42", (0, 0, 0, 1)),  # never closed
        ("   ", (0, 0, 0, 0)),
        ("", (0, 0, 0, 0)),
    ],
)
def test_exact_answers_and_their_format(completion, expected):
    assert outcome(completion) == expected


def test_the_answers_that_were_read_are_given_for_a_vote():
    texts = ["<answer> 7 </answer>", "nothing", "", "so 42"]
    examples = [Example.of_text("?", answer="42")] * 4
    assert Verifier(kind="numeric").score(examples, texts).answers == ["7", None, None, "so 42"]


@pytest.mark.parametrize(
    ("otherwise", "completion", "accuracy"),
    [
        ("last_line", "so 42 it is", 0),
        ("last_number", "so 42 it is", 1),
        ("last_number", "42, or 43", 0),
        ("nothing", "42", 0),
        ("nothing", "<answer>42</answer>", 1),
    ],
)
def test_what_counts_without_the_format_is_a_setting(otherwise, completion, accuracy):
    assert outcome(completion, otherwise=otherwise)[1] == accuracy


@pytest.mark.parametrize(
    ("given", "right", "accuracy", "readable"),
    [
        ("1,000.0", "1000", 1, 1),
        ("$18", "... so he pays 18.\n#### 18", 1, 1),  # a solution of GSM8K
        ("-3/4", "-0.75", 1, 1),
        ("+7", "7", 1, 1),
        ("x = 7", "7", 1, 1),
        ("40-2", "2", 1, 1),  # the last number is 2: a sign does not follow a digit
        (".5", "0.5", 1, 1),
        ("8", "7", 0, 1),
        ("seven", "7", 0, 0),
        ("1/0", "7", 0, 0),
        ("1e9", "1000000000", 0, 1),  # 9, the last number: powers of ten are not read
        ("9" * 3000, "7", 0, 1),
    ],
)
def test_numbers_are_compared_by_value(given, right, accuracy, readable):
    assert outcome(f"<answer>{given}</answer>", answer=right, kind="numeric")[1::2] == (accuracy, readable)


def test_numbers_may_differ_by_the_tolerance():
    assert outcome("<answer>3.14</answer>", answer="3.14159", kind="numeric")[0] == 0
    assert outcome("<answer>3.14</answer>", answer="3.14159", kind="numeric", tolerance=0.01)[0] == 1


def test_the_format_can_be_worth_something():
    assert outcome("<answer>42</answer>", format_score=0.1)[0] == pytest.approx(1.1)
    assert outcome("<answer>41</answer>", format_score=0.1)[0] == pytest.approx(0.1)
    assert outcome("42", format_score=0.1)[0] == 1


def test_another_format_is_a_pattern():
    assert outcome(r"so \boxed{42}.", pattern=r"\\boxed\{([^}]*)\}") == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("settings", "columns", "reason"),
    [
        ({"kind": "exact"}, {"solution": 42}, "its example has no 'answer', only solution"),
        ({"kind": "exact"}, {"answer": None}, "its example has no 'answer'"),
        ({"kind": "numeric"}, {"answer": "many"}, "its right answer 'many' is no number"),
        ({"kind": "reasoning_gym"}, {"entry": "{"}, "reasoning-gym could not score it: JSONDecodeError"),
        ({"kind": "reasoning_gym"}, {"entry": '{"metadata": {"source_dataset": "n_queens"}}'}, "not safe"),
    ],
)
def test_a_completion_that_cannot_be_verified_is_a_failure_and_no_zero(settings, columns, reason):
    examples = [Example.of_text("a", **columns), Example.of_text("b", answer="1", entry=SUM)]
    score = Verifier(**settings).score(examples, ["<answer>1</answer>"] * 2)
    assert isinstance(score.total[0], Failure) and reason in score.total[0].reason
    assert [part[0] for part in score.parts.values()] == [None] * 3
    assert score.total[1] == 1  # the other one is scored


SUM = json.dumps({"question": "0 + 1 =", "answer": "1", "metadata": {"source_dataset": "chain_sum"}})
COUNTDOWN = json.dumps(
    {"answer": "94*4 - 61", "metadata": {"source_dataset": "countdown", "numbers": [61, 94, 4], "target": 315}}
)


@pytest.mark.parametrize(
    ("answer", "full", "partial"),
    [
        ("4*94 - 61", 1, 1),  # another expression than the reference
        ("94 + 4 + 61", 0, 0.05),  # reasoning-gym's score for the right numbers and a wrong result
        ("315", 0, 0.05),
        ("9**9**9**9", 0, 0),  # not evaluated
        ("()", 0, 0.01),
    ],
)
def test_reasoning_gym_scores_its_tasks(answer, full, partial):
    pytest.importorskip("reasoning_gym")
    for credit, expected in (("full", full), ("partial", partial)):
        score = Verifier(credit=credit).score([Example.of_text("?", entry=COUNTDOWN)], [f"<answer>{answer}</answer>"])
        assert score.total == [expected]


@pytest.mark.parametrize("text", ["<answer>" * 125_000, "1" * 1_000_000, "<answer>42</answer>" * 50_000, "\n" * 10**6])
def test_a_megabyte_is_read_from_its_end_without_a_search_that_never_ends(text):
    started = time.process_time()
    total, *_ = outcome(text, kind="numeric")
    assert total == float(text.startswith("<answer>42"))
    assert time.process_time() - started < 10  # a quadratic search of all of it takes minutes


def test_data_without_the_column_is_refused_with_what_to_type():
    no_columns = MovieReviews()
    assert Verifier().data_problem(no_columns) == ""  # it does not say which columns it has
    for kind, message in (
        ("exact", "reward.answer=question"),
        ("reasoning_gym", "reward.kind=exact, numeric or math"),
    ):
        problem = Verifier(kind=kind).data_problem(WithColumns())
        assert message in problem and "question, solution" in problem
    assert Verifier(kind="exact", answer="solution").data_problem(WithColumns()) == ""


class WithColumns(FileData):
    def column_names(self):
        return ("question", "solution")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("<answer>.*", "has 0 groups"), ("(a)(b)", "has 2 groups"), ("(", "is no regular expression")],
)
def test_a_pattern_that_cannot_be_used_is_found_before_anything_starts(pattern, message):
    assert message in Verifier(pattern=pattern).problems()[0]
