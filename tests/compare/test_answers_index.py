"""The last answers of a large study: the same as from its files, and never those of yesterday."""

import json
import os

import pytest

from align_lab.compare import answers, answers_index, index
from align_lab.compare.analysis import analyze
from tests.compare.folders import name_of, write_run, write_samples


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setattr(answers_index, "FROM", 2)
    monkeypatch.setattr(index, "SETTLED", 0)
    write_run(tmp_path, "rloo", 0, (0.0, 0.5), samples=[0.1, 0.2, 0.3])
    write_run(tmp_path, "rloo", 1, (0.0, 0.6), samples=[0.5, 0.1])
    write_run(tmp_path, "ppo", 0, (0.0, 2.0), samples=[0.4, 0.2, 0.3])
    write_run(tmp_path, "ppo", 1, (0.0, 2.5))
    return tmp_path


@pytest.fixture
def opened(monkeypatch):
    """Names of the runs whose samples.jsonl was opened."""
    seen, usual = [], answers.of_step
    monkeypatch.setattr(answers, "of_step", lambda path, step: (seen.append(path.parent.name), usual(path, step))[1])
    return seen


def document(study):
    result = analyze([study])
    return {key: value for key, value in result.items() if key != "written"}


def test_a_second_comparison_says_the_same_and_opens_only_what_kept_no_samples(study, opened):
    first = document(study)
    assert len(opened) == 4
    opened.clear()
    second = document(study)
    assert opened == [name_of("ppo", 1)]
    assert json.dumps(first) == json.dumps(second)
    assert first["wins"]["prompts"] == 2 and first["samples"][0]["completions"][0]["completion"] == "by ppo"


def test_a_file_that_changed_is_opened_again(study, opened):
    document(study)
    write_samples(study / name_of("rloo", 0) / "samples.jsonl", 20, [9.0, 9.0, 9.0], text="changed")
    assert document(study)["samples"][0]["completions"][1]["completion"] == "changed"
    opened.clear()
    path = study / name_of("rloo", 1) / "samples.jsonl"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    document(study)
    assert name_of("rloo", 1) in opened


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"not a table at all"])
def test_a_damaged_index_is_as_none(study, damage):
    first = document(study)
    answers_index.path(study).write_bytes(damage)
    assert document(study) == first


def test_a_study_that_cannot_be_written_to_is_compared_all_the_same(study):
    (study / ".compare").write_text("in the way")
    assert document(study)["wins"]["prompts"] == 2


def test_few_runs_need_no_index(study, monkeypatch):
    monkeypatch.setattr(answers_index, "FROM", 5)
    document(study)
    assert not answers_index.path(study).exists()
