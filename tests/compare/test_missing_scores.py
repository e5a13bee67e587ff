"""Evaluations in which a score is missing, because its scorer abstained on a completion or failed: never a number."""

import json

import pytest

from align_lab.boards import feed, run_view
from align_lab.compare.analysis import analyze
from align_lab.compare.answers import last
from align_lab.compare.evaluations import columns, from_lines, from_parquet
from align_lab.compare.runs import Unfinished
from tests.compare.folders import LABELS, edit, read_run, write_lines, write_run, write_samples

SHARES = {
    f"eval/{name}_{what}": {"label": f"{name} {what}", "meaning": "", "unit": "share", "better": "neither"}
    for name in ("gold_score", "score")
    for what in ("failed", "abstained")
}


def rows_of(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def without(path, metric, **shares):
    """Remove a metric from the last evaluation, and log these shares instead."""
    *first, final = rows_of(path)
    del final[metric]
    write_lines(path / "metrics.jsonl", [*first, final | {f"{metric}_{what}": value for what, value in shares.items()}])
    edit(path / "manifest.json", metrics={**LABELS, **SHARES})


def test_a_run_whose_last_evaluation_was_not_scored_is_left_out_with_the_shares(tmp_path):
    path = write_run(tmp_path)
    without(path, "eval/gold_score", abstained=0.6, failed=0.4)
    left = read_run(path)
    assert isinstance(left, Unfinished) and left.state == "unscored"
    assert "has no gold score: 60 % of the completions got no opinion and 40 % could not be scored" in left.why


def test_a_missing_proxy_score_does_not_cost_the_run(tmp_path):
    path = write_run(tmp_path)
    without(path, "eval/score", abstained=1.0)
    run = read_run(path)
    assert run.final["eval/gold_score"] == 1.0 and "eval/score" not in run.final
    document = analyze([tmp_path])
    assert document["arms"][0]["metrics"]["eval/score"]["mean"] is None
    assert [one["state"] for one in document["unfinished"]] == []


def test_an_evaluation_without_the_proxy_score_is_an_evaluation_in_lines_and_in_a_table(tmp_path):
    import polars

    lines = [{"step": 0, "eval/kl": 0.0}, {"step": 1, "lr": 0.1}, {"step": 2, "eval/kl": 1.0, "eval/score": 0.5}]
    write_lines(tmp_path / "metrics.jsonl", lines)
    polars.DataFrame(lines, infer_schema_length=None).write_parquet(tmp_path / "metrics.parquet")
    values, step = from_lines(tmp_path / "metrics.jsonl", columns())
    (table,) = from_parquet([str(tmp_path / "metrics.parquet")], columns())
    assert step == 2.0
    for evaluations in (values, table):
        assert evaluations[:, columns().places["step"]].tolist() == [0.0, 2.0]


def test_a_completion_without_a_score_is_left_out_and_the_others_of_its_run_stay(tmp_path):
    path = write_run(tmp_path)
    write_samples(path / "samples.jsonl", 40, [1.0, None, 3.0])
    assert [row["decides"] for row in last(read_run(path)).values()] == [1.0, 3.0]


def test_win_rates_are_over_the_prompts_that_both_arms_have_a_score_for(tmp_path):
    """Prompts 0 and 3 have both scores: arm a wins the first, and ties the second."""
    for algo, scores in (("a", [2.0, None, 5.0, 1.0]), ("b", [1.0, 9.0, None, 1.0])):
        for seed in (0, 1):
            write_run(tmp_path, algo, seed, samples=scores)
    wins = analyze([tmp_path])["wins"]
    assert wins["prompts"] == 2
    assert wins["matrix"][wins["arms"].index("a")][wins["arms"].index("b")]["rate"] == pytest.approx(0.75)


def test_a_board_shows_a_missing_score_as_nothing_and_no_column_of_failures(tmp_path):
    samples = [
        {"step": 0, "index": 0, "prompt": "p", "completion": "c", "score": None, "gold_score": 1.0, "kl": 0.0,
         "length": 2, "ended": True, "failures": {"score": "ValueError: no answer"}}
    ]  # fmt: skip
    table = run_view.table(samples, 4)
    assert table.columns == ["index", "prompt", "completion", "score", "gold_score", "kl", "length", "ended"]
    assert table.rows[0][3] is None
    summary = run_view.summary([{"step": 0, "eval/kl": 0.0}], 0, "done")
    assert summary["final/eval/kl"] == 0.0 and "final/eval/score" not in summary
    write_lines(tmp_path / "samples.jsonl", samples)
    write_lines(tmp_path / "metrics.jsonl", [{"step": 0, "eval/kl": 0.0}, {"step": 1, "lr": 0.1}])
    rows = feed.Rows(tmp_path, 1, 4)
    assert [shown for _, shown in rows.new()] == [table, None]
    for tail in (rows._metrics, rows._samples):
        tail._file.close()
