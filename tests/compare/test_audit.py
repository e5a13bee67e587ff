"""The instrument audit: each finding from evaluations written by hand, and silence where there is nothing to say."""

import io

import pytest
from rich.console import Console

from align_lab.compare.analysis import analyze
from align_lab.compare.audit import NOTHING_FOUND, OF_ONE_SEED
from align_lab.compare.report.csv_tables import tables
from align_lab.compare.report.markdown import markdown
from align_lab.compare.report.page import html
from align_lab.compare.terminal import render
from tests.compare.folders import LABELS, edit, rows, write_lines, write_run

MORE = ("score_form", "gold_score_unread", "gold_score_failed", "gold_score_abstained", "vader_order_bias")
NAMED = {
    f"eval/{name}": {"label": name.replace("_", " "), "meaning": "", "unit": "", "better": "neither"} for name in MORE
}


def study(folder, *seeds, gold=(0.0, 0.5, 1.0)):
    """An arm; each seed adds these metrics (first, middle, last) to its evaluations."""
    for seed, metrics in enumerate(seeds):
        path = write_run(folder, "rloo", seed, gold)
        evaluations = rows(gold, eval_vader=[0.0, 0.0, 0.0])
        for name, values in metrics.items():
            for row, value in zip(evaluations, values, strict=True):
                row |= {} if value is None else {f"eval/{name}": value}
        write_lines(path / "metrics.jsonl", evaluations)
        edit(path / "manifest.json", metrics={**LABELS, **NAMED})
    return analyze([folder])


def findings(document):
    return [(one["arm"], one["kind"], one["metric"]) for one in document["audit"]]


def test_a_score_that_falls_while_another_rises_is_named_with_both_intervals(tmp_path):
    """Falls of 1.0, 1.1 and 1.2: mean 1.1, sd 0.1, t(2) = 4.303: 1.1 ± 0.25."""
    fallen = [{"vader": (0.0, 0.0, -fall)} for fall in (1.0, 1.1, 1.2)]
    document = study(tmp_path, *fallen)
    (one,) = [one for one in document["audit"] if one["kind"] == "disagreement"]
    assert (one["arm"], one["metric"]) == ("rloo", "eval/vader")
    assert (one["value"], one["low"], one["high"]) == pytest.approx((-1.1, -1.348, -0.852), abs=1e-3)
    assert "the VADER fell by 1.1 (0.85 to 1.3) while" in one["words"] and "the gold score rose by 1" in one["words"]


def test_a_change_within_the_spread_of_the_seeds_is_no_disagreement(tmp_path):
    assert findings(study(tmp_path, {"vader": (0.0, 0.0, -2.0)}, {"vader": (0.0, 0.0, 1.0)})) == []


def test_one_seed_shows_no_disagreement(tmp_path):
    assert findings(study(tmp_path, {"vader": (0.0, 0.0, -2.0)})) == []


def test_a_part_of_the_reward_that_rises_alone_is_seen(tmp_path):
    """Form up, accuracy down."""
    parts = [{"score_form": (0.2, 0.5, 0.9), "vader": (0.0, 0.0, 0.0)}] * 2
    (one,) = [
        one for one in study(tmp_path, *parts, gold=(1.0, 0.5, 0.0))["audit"] if one["metric"] == "eval/gold_score"
    ]
    assert "the gold score fell by 1" in one["words"] and "the score form rose by 0.7" in one["words"]


@pytest.mark.parametrize(
    ("name", "values", "kind", "words"),
    [
        ("gold_score_unread", (0.02, 0.1, 0.25), "unread", "25 % (25 to 25 %) of the completions have no answer"),
        ("gold_score_unread", (0.02, 0.01, 0.005), None, ""),
        (
            "gold_score_failed",
            (None, None, 0.001),
            "failed",
            "0.1 % (0.1 to 0.1 %) of the completions could not be scored",
        ),
        ("gold_score_abstained", (None, 0.5, 0.5), "abstained", "no opinion: gold score (before training 0)"),
        ("gold_score_abstained", (None, 0.5, None), None, ""),  # none at the end
        ("vader_order_bias", (0.1, 0.2, 0.3), "order_bias", "the verdicts of VADER move by 0.30 of 1"),
        ("vader_order_bias", (0.3, 0.2, 0.04), None, ""),
    ],
)
def test_what_no_judge_could_read_score_or_decide_is_said_by_arm(tmp_path, name, values, kind, words):
    document = study(tmp_path, {name: values}, {name: values})
    assert findings(document) == ([("rloo", kind, f"eval/{name}")] if kind else [])
    assert words in "".join(one["words"] for one in document["audit"])


def terminal(document):
    console = Console(file=io.StringIO(), width=400)
    console.print(render(document))
    return console.file.getvalue()


def test_terminal_page_markdown_and_table_show_the_findings(tmp_path):
    values = {"gold_score_unread": (0.0, 0.1, 0.25)}
    document = study(tmp_path, values, values)
    (words,) = [one["words"] for one in document["audit"]]
    shown = " ".join(terminal(document).split())
    assert words.replace("rloo", "RLOO") in shown and NOTHING_FOUND not in shown
    assert words in html(document) and words.split("%")[0] in markdown(document, [])
    assert tables(document)["audit"] == document["audit"]


def test_where_nothing_is_found_one_line_says_so(tmp_path):
    document = study(tmp_path, {}, {})
    assert document["audit"] == [] and NOTHING_FOUND in terminal(document)
    assert "Nothing was found. No score rose" in html(document) and "nothing was found" in markdown(document, [])


def test_of_one_seed_nothing_is_said_of_scores_that_rise_and_fall(tmp_path):
    write_run(tmp_path, "rloo", 0, (0.0, 0.5))
    write_run(tmp_path, "dpo", 0, (0.0, 0.4))
    shown = " ".join(terminal(analyze([tmp_path])).split())
    assert OF_ONE_SEED in shown and "spread of the seeds" not in shown
