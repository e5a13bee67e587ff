"""Runs that cannot be compared are named with the reason, never dropped in silence."""

import json

import pytest

from align_lab.compare.runs import Run, Unfinished, read_run

FINAL = {"step": 2, "eval/gold_score": 0.5}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "config.yaml").write_text("study: s\n")
    (tmp_path / "status.json").write_text(json.dumps({"state": "done", "step": 2}))
    (tmp_path / "manifest.json").write_text(
        json.dumps({"choices": {"algo": "rloo"}, "seed": 0, "config": {}, "hashes": {}, "spent": {}})
    )
    (tmp_path / "metrics.jsonl").write_text(
        json.dumps({"step": 0, "eval/gold_score": 0.0}) + "\n" + json.dumps(FINAL) + "\n"
    )
    return tmp_path


def test_a_finished_run_is_read(path):
    run = read_run(path)
    assert isinstance(run, Run) and run.final == FINAL and run.start["step"] == 0


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        (
            "status.json",
            json.dumps({"state": "failed", "step": 1, "error": "the loss is not finite"}),
            "failed at step 1: the loss is not finite",
        ),
        ("status.json", json.dumps({"state": "running", "step": 1}), "running at step 1"),
        ("manifest.json", "{", "cannot be read"),
        ("manifest.json", "{}", "cannot be read"),
        ("manifest.json", None, "manifest.json is missing"),
        ("metrics.jsonl", '{"step": 0, "eval/gold_score": 0.0}\n{"step": 1}\n{"st', "cut short"),
        ("metrics.jsonl", None, "cut short"),
    ],
)
def test_what_is_wrong_with_another_is_said(path, file, content, why):
    (path / file).unlink() if content is None else (path / file).write_text(content)
    found = read_run(path)
    assert isinstance(found, Unfinished)
    assert why in found.why
