"""The verifier of mathematics: equal answers in any form, unreadable and wrong ones; a comparison that hangs fails."""

import pytest

from align_lab.base.contracts import Data
from align_lab.base.task import Example, Failure
from align_lab.rewards.math_comparison import MathComparison
from align_lab.rewards.verifier import Verifier
from align_lab.testing import assert_contract

pytest.importorskip("math_verify")
HANGS = "9^{9^{9^{9}}}"  # sympy computes it


@pytest.fixture(scope="module")
def comparison():
    return MathComparison.start(seconds=600)


@pytest.mark.parametrize(
    ("reference", "answer", "equal"),
    [
        ("1/2", "0.5", 1),
        ("1/2", r"\frac{1}{2}", 1),
        (r"\frac{1}{2}", r"so it is \boxed{0.5}", 1),
        ("x+1", "1+x", 1),
        ("x^2-1", "(x-1)(x+1)", 1),
        ("1", "1+x", 0),
        ("7", "the answer is 7", 1),
        ("7", "the answer is 8", 0),
        (r"\{1,2\}", r"\{2,1\}", 1),
        ("(1,2)", "(1, 2)", 1),
        ("1,000", "1000", 1),
        (r"\sqrt{2}", "1.41", 0),
        ("$18", r"\$18", 1),
        ("3", "x=3", 1),
    ],
)
def test_answers_are_equal_whatever_their_form(comparison, reference, answer, equal):
    assert comparison.compare([(reference, answer)]) == [equal]


def test_an_unreadable_answer_and_an_unreadable_reference_are_distinguished(comparison):
    unreadable, failed = comparison.compare([("7", "no idea at all"), ("no idea at all", "7")])
    assert unreadable is None
    assert isinstance(failed, Failure) and "its right answer 'no idea at all' is no mathematics" in failed.reason


def test_a_comparison_that_hangs_is_ended_and_fails_alone():
    comparison = MathComparison.start(seconds=5)
    before, hung, after = comparison.compare([("1/2", "0.5"), ("3", HANGS), ("4", "5")])
    assert (before, after) == (1.0, 0.0)
    assert isinstance(hung, Failure) and "too hard to compare" in hung.reason


def test_the_verifier_scores_mathematics_with_its_parts():
    reward = Verifier(kind="math", format_score=0.5, otherwise="last_line")
    assert reward.problems() == []
    half = Example.of_text("?", answer=r"\frac{1}{2}")
    examples = [half, half, half, half, Example.of_text("?")]
    texts = ["<answer>0.5</answer>", "so\n1/2", "<answer>2</answer>", "", "<answer>1</answer>"]
    score = reward.load(None).score(examples, texts)
    assert score.total[:4] == [1.5, 1.0, 0.5, 0.0]
    assert isinstance(score.total[4], Failure) and "no 'answer'" in score.total[4].reason
    assert {name: list(part[:4]) for name, part in score.parts.items()} == {
        "accuracy": [1, 1, 0, 0],
        "format": [1, 0, 1, 0],
        "readable": [1, 1, 1, 0],
    }


def test_the_verifier_of_mathematics_keeps_the_contract():
    assert_contract("reward", "verifier", kind="math", examples=[Example(key="1", prompt="?", columns={"answer": "4"})])


class Rows(Data):
    """Data that knows its columns."""

    def column_names(self):
        return ("solution",)

    def build(self, folder):
        raise AssertionError("nothing is built")

    def load(self, folder):
        raise AssertionError("nothing is loaded")


def test_a_column_that_the_data_lacks_is_refused_with_what_to_type():
    problem = Verifier(kind="math").data_problem(Rows())
    assert "compares with the column 'answer'" in problem and "reward.answer=solution" in problem
