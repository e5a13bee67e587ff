"""Runs that cannot be compared are named with the reason, never dropped in silence."""

import json
import os

import pytest

from align_lab.base.errors import ConfigError
from align_lab.compare.reading import read_study
from align_lab.compare.runs import Run, Unfinished
from tests.compare.folders import edit, name_of, read_run, rows, write_lines, write_run


@pytest.fixture
def path(tmp_path):
    return write_run(tmp_path, algo="rloo", seed=3)


def test_a_finished_run_is_read(path):
    run = read_run(path)
    assert isinstance(run, Run)
    assert (run.name, run.algo, run.seed, run.base) == (name_of("rloo", 3), "rloo", 3, "rloo")
    assert (run.start["step"], run.final["step"], run.final["eval/gold_score"]) == (0, 40, 1.0)
    assert run.spent["tokens"] == 4000 and run.machine == "one"
    assert "study" not in run.fields and run.fields["train.lr"] == 1e-3


LAST = rows([0.0, 0.5, 1.0])[-1]


@pytest.mark.parametrize(
    ("file", "content", "state", "why"),
    [
        (
            "status.json",
            {"state": "failed", "step": 1, "error": "KeyError: 'x'"},
            "failed",
            "failed at step 1: KeyError: 'x'",
        ),
        ("status.json", {"state": "running", "step": 1}, "running", "running at step 1"),
        ("status.json", {"state": "stopped", "step": 7, "error": "Stopped: bye"}, "stopped", "at step 7: Stopped: bye"),
        (
            "status.json",
            {"state": "failed", "step": 9, "error": "DivergedError: loss is nan"},
            "diverged",
            "failed at step 9: DivergedError: loss is nan",
        ),
        ("status.json", None, "unreadable", "status.json is missing"),
        ("status.json", {}, "unreadable", "cannot be read (ValueError: status.json: it has no state)"),
        ("status.json", {"state": "done", "step": "x"}, "unreadable", "cannot be read"),
        ("manifest.json", "{", "unreadable", "cannot be read"),
        ("manifest.json", {}, "unreadable", "cannot be read"),
        ("manifest.json", [1], "unreadable", "manifest.json holds no fields"),
        ("manifest.json", None, "unreadable", "manifest.json is missing"),
        ("metrics.jsonl", None, "unreadable", "metrics.jsonl is missing"),
        ("metrics.jsonl", "", "unreadable", "cut short"),
        ("metrics.jsonl", '{"step": 40, "eval/score": 1, "eval/gold_score": "high"}', "unreadable", "cannot be read"),
        ("metrics.jsonl", json.dumps(LAST | {"eval/gold_score": float("nan")}), "diverged", "gold score of its last"),
    ],
)
def test_what_is_wrong_with_another_is_said(path, file, content, state, why):
    if content is None:
        (path / file).unlink()
    else:
        (path / file).write_text(content if isinstance(content, str) else json.dumps(content))
    result = read_run(path)
    assert isinstance(result, Unfinished)
    assert why in result.why
    assert (result.state, result.arm, result.seed) == (state, "rloo", 3)


@pytest.mark.parametrize(
    "lines",
    [
        [*rows([0.0, 0.5]), {"step": 39, "loss": 1}],  # the last row holds no evaluation
        rows([0.0, 0.5]),  # the status says that it went on
    ],
)
@pytest.mark.parametrize("torn", ["", '{"step": 40, "eval/score": 1.0'])
def test_rows_that_end_before_the_run_did_are_cut_short(path, lines, torn):
    write_lines(path / "metrics.jsonl", lines, torn=torn)
    result = read_run(path)
    assert isinstance(result, Unfinished) and "cut short" in result.why


def test_a_torn_line_after_the_last_evaluation_does_no_harm(path):
    write_lines(path / "metrics.jsonl", rows([0.0, 0.5, 1.0]), torn='{"step": 4')
    assert read_run(path).final["eval/gold_score"] == 1.0


def test_a_run_of_another_version_is_read_for_what_it_has(path):
    edit(path / "manifest.json", hashes=..., spent=..., machine=..., choices=..., seed=...)
    edit(path / "status.json", step=...)
    run = read_run(path)
    assert (run.algo, run.seed, run.arm, run.machine) == ("rloo", 3, "", "")
    assert run.hashes == {} and run.spent == {}


def test_its_arm_is_what_its_config_calls_it(path):
    config = json.loads((path / "manifest.json").read_text())["config"]
    edit(path / "manifest.json", config=config | {"arm": "mine"})
    assert read_run(path).base == "mine"
    edit(path / "status.json", state="failed")
    assert read_run(path).arm == "mine"


def test_links_are_followed_hidden_folders_are_not_runs_and_strangers_are_let_be(tmp_path):
    study, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    write_run(study, seed=0)
    (study / name_of("rloo", 1)).symlink_to(os.path.relpath(write_run(elsewhere, seed=1), study))
    (study / name_of("ppo", 5)).symlink_to("../never/there")
    write_run(study, seed=2, name=".hydra")
    (study / "notes").mkdir()
    (study / "report.html").write_text("")
    runs, unfinished = read_study(study)
    assert [run.name for run in runs] == [name_of("rloo", 0), name_of("rloo", 1)]
    (gone,) = unfinished
    assert "link to ../never/there" in gone.why and (gone.arm, gone.seed) == ("ppo", 5)


def test_a_folder_that_has_only_just_begun_is_a_run(tmp_path):
    (tmp_path / "rloo-tiny-s1-0a0b0c0d").mkdir()
    (tmp_path / "rloo-tiny-s1-0a0b0c0d" / "config.yaml").write_text("")
    _, (result,) = read_study(tmp_path)
    assert (result.why, result.arm, result.seed) == ("status.json is missing", "rloo", 1)


def test_a_study_without_runs_says_how_to_start_one(tmp_path):
    with pytest.raises(ConfigError, match="holds no runs"):
        read_study(tmp_path)


def test_runs_that_share_a_config_share_it_in_memory(tmp_path):
    for seed in range(3):
        write_run(tmp_path, seed=seed)
    runs, _ = read_study(tmp_path)
    assert len({id(run.fields) for run in runs}) == len({id(run.hashes) for run in runs}) == 1
