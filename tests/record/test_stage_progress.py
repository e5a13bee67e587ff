"""Progress of a stage: a bar on a terminal, a line for about every tenth in a log."""

import io
import re

import pytest
from rich.console import Console

from align_lab.record.console import Screen
from align_lab.record.stage_progress import StageLines


def lines_of(*, units: int, seconds_a_unit: float) -> list[str]:
    lines, now = [], [100.0]
    with StageLines("start policy", lines.append, clock=lambda: now[0]) as bar:
        now[0] += 50  # preparations before the first unit
        for done in range(units + 1):
            bar.progress(done, units)
            now[0] += seconds_a_unit
    return lines


def test_a_log_gets_a_line_every_tenth_with_the_time_that_is_left():
    lines = lines_of(units=200, seconds_a_unit=0.5)
    assert lines[0] == "start policy: 20 of 200, about 90 s left"
    assert [int(re.findall(r"\d+", line)[0]) for line in lines] == list(range(20, 200, 20))


@pytest.mark.parametrize(("units", "seconds_a_unit", "count"), [(200, 0.005, 0), (100, 0.05, 2), (3, 60.0, 2)])
def test_short_stages_have_fewer_lines(units, seconds_a_unit, count):
    assert len(lines_of(units=units, seconds_a_unit=seconds_a_unit)) == count


def test_a_screen_without_a_terminal_shows_lines_with_the_time_of_day():
    out = io.StringIO()
    screen = Screen(console=Console(file=out, width=200))
    with screen.stage("gold judge") as bar:
        bar.notice("fetching [x]")
        bar.progress(0, 10)
    assert re.fullmatch(r"\d\d:\d\d:\d\d fetching \[x\]\n", out.getvalue())


def test_a_terminal_shows_a_bar_that_goes_when_the_stage_is_complete():
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True)
    with Screen(console=console).stage("start policy [x]") as bar:
        bar.progress(0, 8)
        bar.progress(2, 8)
        bar.notice("a line above the bar")
    text = out.getvalue()
    assert "start policy [x]" in text and "25%" in text and "a line above the bar" in text
    assert text.endswith("\x1b[2K")  # the bar's own line is empty again
