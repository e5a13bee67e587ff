"""A table that leaves columns out where the terminal is too narrow."""

import io

import pytest

from align_lab.record.fitted_table import FittedTable
from align_lab.record.terminal import Terminal

ROWS = [("[bold]rloo[/]", "0.82", "0.83 0.89 0.77 0.78 0.83", "4.4"), ("reinforce_pp", "-0.41", "0.40", "12.0")]


def lines(width, **about):
    table = FittedTable(headings=("arm", "gold", "by seed", "KL"), left=(0, 2), **about)
    for row in ROWS:
        table.add_row(*row)
    console = Terminal(file=io.StringIO(), width=width)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_with_room_for_all_nothing_is_left_out():
    assert lines(60, folds=(2,), dispensable=(3, 2)) == [
        "arm            gold  by seed                     KL",
        "rloo           0.82  0.83 0.89 0.77 0.78 0.83   4.4",
        "reinforce_pp  -0.41  0.40                      12.0",
    ]


def test_a_column_that_may_be_folded_is_before_one_is_left_out():
    shown = lines(40, folds=(2,), dispensable=(3, 2))
    assert shown[0].split() == ["arm", "gold", "by", "seed", "KL"] and len(shown) == 5
    assert " ".join(shown[1:4]).split() == ["rloo", "0.82", "0.83", "0.89", "4.4", "0.77", "0.78", "0.83"]


@pytest.mark.parametrize(("width", "headings"), [(36, ["arm", "gold", "by", "seed"]), (25, ["arm", "gold"])])
def test_columns_go_in_the_order_that_was_given_and_no_number_is_cut(width, headings):
    shown = lines(width, folds=(2,), dispensable=(3, 2))
    assert shown[0].split() == headings and "-0.41" in shown[-1]
    assert all(len(line) <= width for line in shown)
