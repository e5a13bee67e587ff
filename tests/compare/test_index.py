"""The index of a large study: the same runs, quicker, and never those of yesterday."""

import os

import numpy as np
import pytest

from align_lab.compare import index, reading
from align_lab.compare.reading import read_study
from tests.compare.folders import edit, name_of, rows, write_lines, write_run


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "INDEX_FROM", 2)
    monkeypatch.setattr(index, "SETTLED", 0)
    write_run(tmp_path, "rloo", 0, (0.0, 0.5, 1.0))
    write_run(tmp_path, "rloo", 1, (0.0, 0.75))
    write_run(tmp_path, "ppo", 0, (0.0, 2.0), config={"arm": "mine", "algo.clip": float("inf")})
    return tmp_path


@pytest.fixture
def read_anew(monkeypatch):
    """Names of the runs whose folders were opened."""
    opened, usual = [], reading.all_of

    def spy(paths):
        opened.extend(os.path.basename(path) for path in paths)
        return usual(paths)

    monkeypatch.setattr(reading, "all_of", spy)
    return opened


def test_runs_come_back_as_they_were_written(study, read_anew):
    before, _ = read_study(study)
    assert len(read_anew) == 3
    after, _ = read_study(study)
    assert len(read_anew) == 3  # no folder was opened again
    for one, other in zip(before, after, strict=True):
        for name in ("name", "algo", "seed", "arm", "machine", "place", "fields", "hashes", "labels", "metric"):
            assert getattr(one, name) == getattr(other, name)
        assert one.rows.columns == other.rows.columns
        assert np.array_equal(one.rows.values, other.rows.values, equal_nan=True)
        assert other.spent == one.spent | {"flops": None, "peak_memory_gib": None, "preference_pairs": None}


@pytest.mark.parametrize("file", ["status.json", "manifest.json", "metrics.jsonl", "metrics.parquet"])
def test_a_run_is_read_anew_when_any_of_its_files_changed(study, read_anew, file):
    read_study(study)
    read_anew.clear()
    path = study / name_of("rloo", 1)
    if not (path / file).exists():
        (path / file).touch()
    stat = (path / file).stat()
    os.utime(path / file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    read_study(study)
    assert read_anew == [path.name]


def test_what_changed_is_what_is_read(study):
    read_study(study)
    write_lines(study / name_of("rloo", 1) / "metrics.jsonl", rows([0.0, -3.0]))
    (ppo,) = study.glob("ppo-*")
    edit(ppo / "status.json", state="failed")
    (study / name_of("rloo", 0)).rename(study / f"renamed-{name_of('rloo', 0)}")
    runs, unfinished = read_study(study)
    assert {run.name: run.final["eval/gold_score"] for run in runs} == {
        name_of("rloo", 1): -3.0,
        f"renamed-{name_of('rloo', 0)}": 1.0,
    }
    assert [run.name for run in unfinished] == [ppo.name]


def test_a_file_that_has_only_just_changed_is_not_trusted(study, read_anew, monkeypatch):
    monkeypatch.setattr(index, "SETTLED", 3_600_000_000_000)
    read_study(study)
    read_anew.clear()
    read_study(study)
    assert len(read_anew) == 3


def test_a_damaged_index_is_as_none(study, read_anew):
    read_study(study)
    index.path(study).write_bytes(b"PAR1")
    read_anew.clear()
    assert len(read_study(study)[0]) == len(read_anew) == 3


def test_an_index_of_another_version_is_as_none(study, read_anew, monkeypatch):
    read_study(study)
    read_anew.clear()
    monkeypatch.setattr(index, "VERSION", index.VERSION + 1)
    read_study(study)
    assert len(read_anew) == 3


def test_a_study_that_cannot_be_written_to_is_read_all_the_same(study):
    (study / ".compare").write_text("in the way")
    assert len(read_study(study)[0]) == 3


def test_few_runs_need_no_index(study, monkeypatch):
    monkeypatch.setattr(reading, "INDEX_FROM", 4)
    read_study(study)
    assert not index.path(study).exists()
