"""Written-out solutions of arithmetic expressions."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align_lab.data.solutions import answer_alone, steps, written_out


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("4 - 1 - 7", ["4 - 1 = 3", "3 - 7 = -4"]),
        ("42*(30 - 4 - 23)", ["30 - 4 = 26", "26 - 23 = 3", "42 * 3 = 126"]),
        ("2 + 3 * 4", ["3 * 4 = 12", "2 + 12 = 14"]),
        ("-(2 + 3)", ["2 + 3 = 5"]),
        ("10*9/4 + 1", ["10 * 9 = 90", "90 / 4 = 45/2", "45/2 + 1 = 47/2"]),
        ("7", []),
    ],
)
def test_every_operation_is_a_step_in_the_order_of_its_evaluation(expression, expected):
    assert steps(expression) == expected


@given(st.lists(st.tuples(st.sampled_from("+-"), st.integers(0, 99)), min_size=2, max_size=6))
def test_each_step_is_right_and_starts_from_the_one_before(terms):
    (_, first), *others = terms
    running, written = first, steps(f"{first} " + " ".join(f"{sign} {number}" for sign, number in others))
    for step, (sign, number) in zip(written, others, strict=True):
        after = running + number if sign == "+" else running - number
        assert step == f"{running} {sign} {number} = {after}"
        running = after


def test_a_solution_ends_with_the_answer_in_its_format():
    assert written_out("1 + 2 - 5", "-2") == " 1 + 2 = 3; 3 - 5 = -2 <answer>-2</answer>"
    assert answer_alone("-2") == " <answer>-2</answer>"


@pytest.mark.parametrize("text", ["__import__('os')", "2 ** 9", "1 / 0", "1 +", "x + 1", "1.5 + 2", "True + 1", "[1]"])
def test_what_is_no_plain_arithmetic_is_refused_and_never_evaluated(text):
    with pytest.raises(ValueError):
        steps(text)


def test_fractions_are_exact():
    last = steps("1/3 + 1/6")[-1]
    assert Fraction(re.split(" = ", last)[1]) == Fraction(1, 2)
