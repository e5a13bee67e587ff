"""A snapshot holds the files of users' code, under a path that follows from theirs."""

import pytest

from align_lab.base import paths
from align_lab.dispatch import snapshot


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "my_reward.py").write_text("one = 1\n")
    return tmp_path / "a" / "my_reward.py"


def test_a_job_opens_the_file_as_it_was_submitted(mine, monkeypatch):
    folder, _ = snapshot.take(code=[mine])
    mine.write_text("one = 2\n")
    assert paths.submitted(mine).read_text() == "one = 2\n", "this process does not run the snapshot"
    monkeypatch.setattr(paths, "PACKAGE", folder / "align_lab")
    relative = mine.relative_to(mine.parents[1])
    assert [paths.submitted(path).read_text() for path in (mine, relative)] == ["one = 1\n", "one = 1\n"]
    assert paths.submitted(mine.with_name("other.py")) == mine.with_name("other.py")


def test_another_content_is_another_snapshot(mine):
    first = snapshot.take(code=[mine])
    assert snapshot.take(code=[mine, mine]) == first
    mine.write_text("one = 2\n")
    assert snapshot.take(code=[mine])[1] != first[1]
