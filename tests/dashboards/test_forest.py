"""The picture of the pairs in letters, against one that was drawn by hand."""

import pytest

from align_lab.dashboards import forest, sections

ZONE, ZERO = "░", "│"


def drawn(*pairs, smallest=None):
    keys = ("a", "b", "gap", "low", "high", "p", "words", "needed")
    label = {"label": "gold score", "unit": "sd", "meaning": "", "better": "higher", "judge": "", "again": ""}
    document = {
        "metric": "eval/gold_score",
        "metrics": {"eval/gold_score": label},
        "verdict": {"pairs": [dict(zip(keys, pair, strict=True)) for pair in pairs], "smallest": smallest},
    }
    return forest.pairs(document).split("\n")


def test_a_pair_is_where_its_numbers_are():
    """The scale holds -0.1 to 0.75 and 4 % more on each side, -0.134 to 0.784, in 40 steps of 0.02295: 0 is 5.8 steps
    from its start, ±0.1 are 1.5 and 10.2, the interval 16.7 to 38.5, the gap 27.6.
    """
    row, ticks, label, _, how = drawn(("A", "B", 0.5, 0.25, 0.75, 0.01, "A > B", None), smallest=0.1)
    lane = f" {ZONE * 5}{ZERO}{ZONE * 4}      ├──────────●──────────┤ "
    assert row == f"A − B  {lane}  0.50 [0.25, 0.75]  better"
    assert ticks.split()[0].startswith("−0.1") and "gap in gold score (sd): first − second" in label
    assert "● the interval excludes 0" in how and "smallest gap that matters" in how


@pytest.mark.parametrize(("low", "high", "point"), [(-0.2, 0.4, "○"), (None, None, "○"), (0.05, 0.15, "●")])
def test_a_point_is_filled_where_the_interval_excludes_0(low, high, point):
    row, *_, how = drawn(("A", "B", 0.1, low, high, None, "not enough seeds", 3))
    assert point in row and "smallest" not in how and ZONE not in row


def test_rows_of_long_and_short_names_have_their_zero_below_each_other():
    one = ("REINFORCE++", "Dr.\u00a0GRPO", 0.5, 0.4, 0.6, 0.01, "", None)
    rows = drawn(one, ("A", "B", -0.3, -0.4, -0.2, 0.01, "", None))[:2]
    assert rows[0].index(ZERO) == rows[1].index(ZERO) and rows[1].endswith("worse")


def test_no_name_can_end_the_block():
    drawing = "\n".join(drawn(("```", "B", 0.5, 0.4, 0.6, 0.01, "", None)))
    assert sections._in_letters(drawing).startswith("````text\n``` − B") and sections._in_letters("") == ""
