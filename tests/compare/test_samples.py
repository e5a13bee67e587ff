"""Completions of the last evaluation, read from the end of a file."""

import json

import pytest

from align_lab.compare import answers, samples
from align_lab.compare.answers import Answers, last, of_step
from align_lab.compare.samples import agreement, side_by_side
from tests.compare.folders import read_run, write_lines, write_run, write_samples

NO_RUNS = {}  # whose folders could be read


def lines(*steps, prompts=3):
    return [
        {"step": step, "index": i, "prompt": f"p{i}", "gold_score": step + i} for step in steps for i in range(prompts)
    ]


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
def test_only_the_last_step_is_read_whatever_the_size_of_the_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr(answers, "BLOCK", block)
    write_lines(tmp_path / "s", lines(0, 20, 40))
    assert of_step(tmp_path / "s", 40) == lines(40)[::-1]
    assert of_step(tmp_path / "s", 20) == []  # it is not the last


@pytest.mark.parametrize("torn", ['{"step": 40, "index": 3, "pro', '{"st', '{"step": 40, "index": 3}'])
def test_a_torn_last_line_is_not_a_row_and_a_whole_one_without_a_line_end_is(tmp_path, torn):
    write_lines(tmp_path / "s", lines(0, 40), torn=torn)
    assert len(of_step(tmp_path / "s", 40)) == (4 if torn.endswith("}") else 3)


def test_a_completion_that_names_a_step_does_not_mislead(tmp_path):
    rows = lines(0, 40)
    rows[2]["completion"] = '"step": 40, said the film'
    write_lines(tmp_path / "s", rows)
    assert len(of_step(tmp_path / "s", 40)) == 3


def test_other_ways_to_write_a_step_are_understood(tmp_path):
    (tmp_path / "s").write_text('{"step":20.0,"index":0}\n{"index":1,"step":40.0}\n{"index":2,"step":40}\n')
    assert [row["index"] for row in of_step(tmp_path / "s", 40)] == [2, 1]


def run_with(tmp_path, write):
    path = write_run(tmp_path)
    write(path / "samples.jsonl")
    return read_run(path)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: None,
        lambda path: path.write_text(""),
        lambda path: write_samples(path, 20, [1.0]),  # the evaluation before the last
        lambda path: path.write_text('{"step": 40}\n'),
        lambda path: path.write_text('{"step": 40, nonsense}\n{"step": 40, "index": 0}\n'),
    ],
)
def test_a_run_without_whole_completions_of_its_last_evaluation_has_none(tmp_path, write):
    assert last(run_with(tmp_path, write)) == Answers.of({})


def test_rows_are_known_by_prompt_and_those_without_a_score_are_left_out(tmp_path):
    result = last(run_with(tmp_path, lambda path: write_samples(path, 40, [1.0, float("nan"), 3.0])))
    assert {key: row["decides"] for key, row in result.items()} == {(0, "p0"): 1.0, (2, "p2"): 3.0}


def rows(*prompts, text="t"):
    return Answers.of(
        {(i, f"p{i}"): {"completion": f"{text}{i}", "decides": float(i), "score": None, "ended": None} for i in prompts}
    )


def test_arms_stand_side_by_side_with_the_first_seed_that_they_share():
    kept = {"a": {1: rows(0), 2: rows(0, 1, text="a")}, "b": {2: rows(0, 1, text="b"), 3: rows(0)}}
    first, second = side_by_side(kept, NO_RUNS)
    assert (first["index"], first["prompt"]) == (0, "p0")
    assert [(one["arm"], one["seed"], one["completion"]) for one in second["completions"]] == [
        ("a", 2, "a1"),
        ("b", 2, "b1"),
    ]
    assert second["completions"][0] == {
        "arm": "a",
        "seed": 2,
        "completion": "a1",
        "decides": 1.0,
        "score": None,
        "ended": None,
    }


def test_the_start_policys_text_stands_beside_them(tmp_path):
    run = run_with(tmp_path, lambda path: write_samples(path, 40, [1.0, 2.0, 3.0]))
    shown = side_by_side({"rloo": {0: last(run)}}, {"rloo": [run]})
    assert [sample["start_decides"] for sample in shown] == [9.0, 9.0, None]
    assert [sample["start"] for sample in shown] == ["old", "old", None]  # the third was not kept before training
    assert side_by_side({"rloo": {0: last(run)}}, NO_RUNS)[0]["start"] is None


def test_without_a_shared_seed_each_arm_shows_its_first():
    kept = {"a": {4: rows(0)}, "b": {7: rows(0), 9: rows(0)}, "c": {}}
    (shown,) = side_by_side(kept, NO_RUNS)
    assert [(one["arm"], one["seed"]) for one in shown["completions"]] == [("a", 4), ("b", 7)]


def test_of_many_prompts_a_dozen_are_shown_from_the_first_to_the_last():
    shown = [sample["index"] for sample in side_by_side({"a": {0: rows(*range(100))}}, NO_RUNS)]
    assert len(shown) == samples.PROMPTS and shown[0] == 0 and shown[-1] == 99
    assert json.dumps(side_by_side({"a": {0: rows(*range(100))}}, NO_RUNS))  # plain numbers
    assert side_by_side({}, NO_RUNS) == side_by_side({"a": {0: Answers.of({})}, "b": {0: rows(1)}}, NO_RUNS) == []


def answered(decides, scores):
    return Answers.of(
        {
            (i, f"p{i}"): {"completion": "", "decides": one, "score": score, "ended": True}
            for i, (one, score) in enumerate(zip(decides, scores, strict=True))
        }
    )


def test_the_agreement_of_two_judges_is_the_mean_of_their_correlations_within_each_arm():
    half, opposite = answered([1, 2, 3], [10, 30, 20]), answered([1, 2, 3, 4], [4, 3, 2, 1])
    assert agreement({"rloo": {0: half}, "ppo": {0: opposite}}) == pytest.approx((0.5 - 1) / 2)
    assert agreement({"rloo": {0: half}, "ppo": {1: half, 0: opposite}}) == pytest.approx((0.5 - 1) / 2)  # seed 0


@pytest.mark.parametrize("scores", [[1, 1, 1], [1, None, 2], [None, None, None]])
def test_without_three_different_scores_nothing_is_said_of_the_agreement(scores):
    assert agreement({"rloo": {0: answered([1, 2, 3], scores)}}) is None and agreement({"rloo": {}}) is None
