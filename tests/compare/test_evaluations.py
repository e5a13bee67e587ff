"""Evaluations are the same numbers whichever file they are read from."""

import json
import os

import numpy as np
import polars as pl
import pytest

from align_lab.compare import evaluations
from align_lab.compare.evaluations import Table, columns, judged, united
from tests.compare.folders import rows, write_lines, write_run

COLUMNS = columns(("eval/gold_score", "eval/vader", "eval/gold_score_se"))


def column(values, name):
    return Table(COLUMNS, values)[name].tolist()


def from_lines(path):
    return evaluations.from_lines(path, COLUMNS)


def from_parquet(files):
    return evaluations.from_parquet(files, COLUMNS)


def of_many(paths):
    return evaluations.of_many(paths, COLUMNS)


def of_one(path):
    return evaluations.of_one(path, COLUMNS)


def test_judges_have_columns_of_their_own_between_the_fixed_ones():
    config = {"evaluation.judges.strict.name": "x", "evaluation.judges.strict.model": "y", "evaluation.prompts": 4}
    names = judged("eval/strict", config, ["eval/score", "eval/lenient", "objective/scores", "eval/hard/score"])
    assert columns(names).evaluated[:3] == ["eval/score", "eval/strict", "eval/lenient"]
    assert columns(names).evaluated[-1] == "eval/strict_se"
    assert columns().evaluated[0] == "eval/score" and "eval/kl" in columns().names


def test_tables_of_runs_with_other_judges_fit_together():
    one, other = columns(("eval/a",)), columns(("eval/b", "eval/b_se"))
    both = united([one, other, one])
    assert set(both.names) == {*one.names, *other.names}
    values = np.arange(2.0 * len(one.names)).reshape(2, -1)
    moved = Table(one, values).under(both)
    assert moved["eval/a"].tolist() == Table(one, values)["eval/a"].tolist()
    assert np.isnan(moved["eval/b"]).all() and np.isnan(moved["eval/never"]).all()


def with_training(result):
    """Between two evaluations lie rows of training alone, as the loop logs them."""
    between = [{"step": row["step"] + 1, "loss/policy_avg": 0.5, "time/step": 1.0} for row in result[:-1]]
    return sorted([*result, *between], key=lambda row: row["step"])


def compact(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    pl.DataFrame(lines, infer_schema_length=None).write_parquet(path / "metrics.parquet")


def test_only_evaluations_are_kept_and_no_clock_has_run_at_the_start(tmp_path):
    write_lines(tmp_path / "m", with_training(rows([0.0, 0.5, 1.0])))
    result, last = from_lines(tmp_path / "m")
    assert result.shape == (3, len(COLUMNS.names)) and last == 40
    assert column(result, "step") == [0, 20, 40] and column(result, "eval/gold_score") == [0.0, 0.5, 1.0]
    assert column(result, "time/elapsed") == [0, 10, 20]
    assert np.isnan(column(result, "eval/vader")).all()  # never recorded


@pytest.mark.parametrize(
    ("torn", "last"),
    [('{"step": 60, "eval/sc', 40), ('{"step": 60, "eval/score": 2', 40), ('{"step": 60, "loss": 1}', 60)],
)
def test_a_torn_last_line_is_not_a_row_and_a_whole_one_without_a_line_end_is(tmp_path, torn, last):
    write_lines(tmp_path / "m", rows([0.0, 0.5, 1.0]), torn=torn)
    result, at = from_lines(tmp_path / "m")
    assert column(result, "step") == [0, 20, 40] and at == last


def test_the_table_holds_what_the_lines_hold(tmp_path):
    path = write_run(tmp_path, gold=(0.0, 0.25, 1.0))
    write_lines(path / "metrics.jsonl", with_training(rows([0.0, 0.25, 1.0])))
    compact(path)
    other = write_run(tmp_path, seed=1, gold=(0.5,))
    compact(other)
    one, two = from_parquet([str(p / "metrics.parquet") for p in (path, other)])
    assert np.array_equal(one, from_lines(path / "metrics.jsonl")[0], equal_nan=True)
    assert np.array_equal(two, from_lines(other / "metrics.jsonl")[0], equal_nan=True)


def test_columns_that_one_table_lacks_and_another_has_are_nan(tmp_path):
    tables = [{"step": [0], "eval/score": [3], "eval/gold_score": [1], "eval/vader": [0.5]}]
    tables += [{"eval/score": [3.0], "eval/gold_score": [2.0], "other": ["x"]}]
    files = [str(tmp_path / f"{i}.parquet") for i in range(2)]
    for table, file in zip(tables, files, strict=True):
        pl.DataFrame(table).write_parquet(file)
    one, two = from_parquet(files)
    assert column(one, "eval/vader") == [0.5] and np.isnan(column(two, "step")).all()
    assert column(one, "eval/gold_score") + column(two, "eval/gold_score") == [1.0, 2.0]


def test_a_table_without_evaluations_does_not_shift_those_of_others(tmp_path):
    frames = {"a": [None, None], "b": [1.0, 2.0], "c": [None, None], "d": [3.0, None]}
    for name, scores in frames.items():
        frame = pl.DataFrame({"step": [0, 1], "eval/score": pl.Series(scores, dtype=pl.Float64)})
        frame.write_parquet(tmp_path / name)
    parts = from_parquet([str(tmp_path / name) for name in frames])
    assert [column(part, "eval/score") for part in parts] == [[], [1.0, 2.0], [], [3.0]]


@pytest.fixture
def many(monkeypatch, tmp_path):
    """Five runs with both files, read two at a time as if they were large."""
    monkeypatch.setattr(evaluations, "MANY_BYTES", 1)
    monkeypatch.setattr(evaluations, "FILES", 2)
    paths = [write_run(tmp_path, seed=seed, gold=(0.0, float(seed))) for seed in range(5)]
    for path in paths:
        compact(path)
    return paths


def test_many_runs_are_read_at_once_and_none_is_mistaken_for_another(many):
    result = of_many(list(map(str, many)))
    assert [column(result[str(path)], "eval/gold_score")[-1] for path in many] == [0, 1, 2, 3, 4]


def test_a_damaged_table_is_left_to_be_read_alone(many):
    (many[2] / "metrics.parquet").write_bytes(b"PAR1 and then nothing")
    result = of_many(list(map(str, many)))
    assert set(result) == {str(many[i]) for i in (0, 1, 4)}  # run 3 was read together with run 2
    assert column(of_one(many[2])[0], "eval/gold_score") == [0.0, 2.0]
    (many[2] / "metrics.jsonl").unlink()
    with pytest.raises(ValueError, match=r"metrics\.parquet"):
        of_one(many[2])


def test_a_table_that_is_older_than_the_lines_is_not_used(many):
    os.utime(many[1] / "metrics.parquet", (1, 1))
    assert str(many[1]) not in of_many(list(map(str, many)))


def test_few_runs_are_read_from_their_lines(many, monkeypatch):
    monkeypatch.setattr(evaluations, "MANY_BYTES", 1 << 30)
    assert of_many(list(map(str, many))) == {}


def test_a_run_without_lines_is_read_from_its_table(many):
    (many[3] / "metrics.jsonl").unlink()
    assert column(of_one(many[3])[0], "eval/gold_score") == [0.0, 3.0]
