"""The scales of the figures that no library draws: where a value stands, and which ticks are there."""

from __future__ import annotations

import pytest

from align_lab.compare.report.scale import marked, scale


@pytest.mark.parametrize("values", [(-0.31, 0.5), (0.42, 0.44), (-2000.0, 900.0), (7.0, 7.0), (-0.05, 1.33)])
def test_a_scale_holds_its_values_and_has_four_ticks_within_its_edges(values):
    axis = scale(values)
    places = [place for place, _ in axis.ticks]
    assert all(0 <= axis.at(value) <= 100 for value in values)
    assert 4 <= len(places) <= 12 and places == sorted(places) and places[0] >= 2 and places[-1] <= 98
    numbers = [float(text.replace("−", "-").replace(",", "")) for _, text in axis.ticks]
    assert [axis.at(number) for number in numbers] == pytest.approx(places, abs=0.02)


def test_a_place_is_in_percent_and_an_interval_ends_at_the_edges():
    axis = scale((0.0, 100.0))  # with a margin of 4 on either side
    assert (axis.low, axis.high) == (-4.0, 104.0) and axis.at(50.0) == 50.0
    assert axis.between(-50.0, 23.0) == (0.0, 25.0) and axis.between(None, 1.0) is None
    assert scale((1.0, 2.0), around=0.0).low < 0


def test_the_gap_that_matters_is_a_tick_in_place_of_near_ones_but_not_beside_0():
    axis = marked(scale((-1.0, 1.0)), (-0.55, 0.55))
    texts = [text for _, text in axis.ticks]
    assert texts[1:-1] == ["−0.55", "0.0", "0.55"] and texts[0] == "−1.0" and texts[-1] == "1.0"
    assert {"0.05", "0.10", "0.15"} <= {text for _, text in marked(scale((-0.09, 0.16)), (0.1,)).ticks}
    assert marked(scale((-10.0, 10.0)), (-0.1, 0.1)).ticks == scale((-10.0, 10.0)).ticks
