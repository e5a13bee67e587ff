"""Terminal output: escaped, on one line, and no stronger than the numbers."""

import io

from rich.console import Console

from align_lab.base.metrics import METRICS
from align_lab.record.console import Screen, describe, printable
from align_lab.record.final_summary import FinalSummary


def test_a_completion_cannot_style_or_break_the_terminal():
    out = io.StringIO()
    screen = Screen(console=Console(file=out, width=200))
    sample = {"prompt": "[bold]The", "completion": " film\x1b[31m is [red]bad\n\nend", "score": 0.1}
    screen.samples([sample], [sample], FinalSummary(METRICS, "eval/score"))
    text = out.getvalue()
    assert "\x1b" not in text and "[red]bad end" in text and "[bold]The" in text


def test_printable_keeps_one_line():
    assert printable(" a\tb\r\nc\x85d\u2028e ") == "a b c d e"


def test_plain_lines_show_step_score_kl_and_time_left():
    out = io.StringIO()
    screen = Screen(console=Console(file=out, width=200))
    screen.start(step=0, steps=20)
    for step in range(1, 21):
        screen.update(
            {
                "step": step,
                "objective/scores": 0.5,
                "objective/kl": 1.25,
                "time/step": 2.0,
                "time/samples_per_second": 40.0,
            },
            steps=20,
        )
    lines = out.getvalue().splitlines()
    assert len(lines) == 10
    assert "step 2/20  score 0.50  KL 1.2  40 samples/s  about 36 s left" in lines[0]
    assert "step 20/20" in lines[-1] and "left" not in lines[-1]


def test_a_missing_score_is_a_dash_in_the_table_and_beside_a_completion():
    out = io.StringIO()
    screen = Screen(console=Console(file=out, width=200))
    summary = FinalSummary(METRICS, "eval/score")
    known = {row.key: 1.0 for row in summary.rows()} | {"eval/score_se": 0.1}
    missing = {key: value for key, value in known.items() if not key.startswith("eval/score")}
    screen.result(known, missing | {"eval/score_abstained": 1.0}, summary)
    screen.samples(
        [{"prompt": "p", "completion": "old", "score": 0.5}],
        [{"prompt": "p", "completion": "new", "score": None}],
        summary,
    )
    text = out.getvalue()
    assert "on 100 % there is no opinion" in text and "None" not in text
    assert "score  0.50  old" in text and "score     –  new" in text


def test_a_distance_of_nothing_has_no_minus_sign():
    assert describe({"objective/kl": -0.04, "eval/kl": -0.0}) == "KL 0.0  held-out KL 0.0"
    out = io.StringIO()
    summary = FinalSummary(METRICS, "eval/score")
    known = {row.key: -0.001 for row in summary.rows()} | {"eval/score_se": 0.1}
    Screen(console=Console(file=out, width=200)).result(known, known, summary)
    assert "0.00" in out.getvalue() and "-0.00 " not in out.getvalue()
