"""The run folder: rows survive a crash, undeclared and non-finite metrics are rejected, and so is another config."""

import pytest

from align_lab.base import registry
from align_lab.base.errors import AlignLabError, ConfigError, DivergedError
from align_lab.record.folder import RunFolder, read_config

CONFIG = {
    "study": "s",
    "seed": 0,
    "train": {"lr": 0.1},
    "record": {"samples": 3},
    "reward": {"name": "vader"},
    "data": {"name": "movie_reviews"},
    "evaluation": {"sets": [], "judges": {}, "metric": "eval/score"},
}


@pytest.fixture
def folder(tmp_path):
    registry.scan()
    return RunFolder.create(tmp_path / "run", CONFIG)


def test_rows_come_back_in_order_without_a_torn_last_line(folder):
    folder.log({"step": 0, "episode": 0})
    folder.log({"step": 1, "episode": 64})
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "epi')
    assert [row["step"] for row in folder.metrics()] == [0, 1]
    folder.rewind(1)
    folder.log({"step": 2, "episode": 128})
    assert [row["step"] for row in folder.metrics()] == [0, 1, 2]


def test_rewinding_removes_rows_and_samples_after_the_checkpoint(folder):
    for step in range(5):
        folder.log({"step": step, "episode": step})
        folder.log_samples([{"step": step, "completion": "x"}])
    folder.rewind(2)
    assert [row["step"] for row in folder.metrics()] == [0, 1, 2]
    assert [row["step"] for row in folder.samples()] == [0, 1, 2]


def test_an_undeclared_metric_is_an_error_with_the_near_match(folder):
    with pytest.raises(AlignLabError, match=r"objective/klx.*objective/kl"):
        folder.log({"step": 1, "objective/klx": 1.0})


def test_a_metric_that_is_no_number_stops_the_run_and_is_not_written(folder):
    with pytest.raises(DivergedError, match="eval/kl is nan at step 1"):
        folder.log({"step": 1, "eval/kl": float("nan")})
    assert folder.metrics() == []


def test_a_folder_of_another_config_is_rejected_with_the_fields_that_differ(folder):
    with pytest.raises(ConfigError, match=r"train\.lr is 0\.1 there and 0\.2 here"):
        RunFolder.create(folder.path, {**CONFIG, "train": {"lr": 0.2}})
    RunFolder.create(folder.path, {**CONFIG, "record": {"samples": 5}})  # what cannot change a result may change
    assert read_config(folder.path)["record"]["samples"] == 5


def test_rows_are_compacted_at_the_end(folder):
    import polars

    folder.log({"step": 0, "episode": 0, "eval/kl": 0.0})
    folder.log({"step": 1, "episode": 64})
    folder.finish()
    table = polars.read_parquet(folder.path / "metrics.parquet")
    assert table["step"].to_list() == [0, 1]
    assert table["eval/kl"].to_list() == [0.0, None]
