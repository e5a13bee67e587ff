"""Whatever a text holds, it is only shown."""

import io

import pytest
from rich.table import Table
from rich.text import Text

from align_lab.record.terminal import Terminal, escape, one_line, visible

HOSTILE = "\x1b[2J\x1b]0;title\x07red\x9b31m\r\u202eover\x08"


def shown(*renderables, **settings):
    out = io.StringIO()
    terminal = Terminal(file=out, width=200, **settings)
    for one in renderables:
        terminal.print(one)
    return out.getvalue()


def table(text):
    built = Table(title=text)
    built.add_column(text)
    built.add_row(text)
    return built


@pytest.mark.parametrize("renderable", [HOSTILE, Text(HOSTILE), table(HOSTILE), escape(HOSTILE)])
def test_no_control_character_of_a_text_is_printed(renderable):
    text = shown(renderable)
    assert not {"\x1b", "\x9b", "\x07", "\x08", "\r", "\u202e"} & set(text) and "red" in text and "\ufffd" in text


def test_colors_of_its_own_are_printed():
    assert "\x1b[31mred\x1b[0m" in shown(Text("red", style="red"), force_terminal=True, color_system="standard")


def test_a_name_is_one_line_without_markup():
    assert shown(f"run {escape('a[bold]b[/]' + chr(10) + 'done     c')}") == "run a[bold]b[/] done c\n"
    assert one_line("two\nlines\x1b") == "two lines\ufffd"


@pytest.mark.parametrize(
    "text", ["plain", "naïve – 1\u00a0000", "\u0645\u06cc\u200c\u062e", "two\nlines\tof text", "👩\u200d🔬"]
)
def test_text_stays_as_it_is(text):
    assert visible(text) == text
