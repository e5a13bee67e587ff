"""Hashes of local files: taken again when a file may have changed, and only then."""

import hashlib
import multiprocessing
import os
import time

import pytest

from align_lab.base import content
from align_lab.base.content import SMALL, content_hash, file_hash
from align_lab.base.errors import DataError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch):
    """Paths that were read to be hashed."""
    paths = []
    monkeypatch.setattr(content, "sha256", lambda path: (paths.append(path), truth(path))[1])
    return paths


def truth(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def large(path, letter="a"):
    path.write_bytes(letter.encode() * (SMALL + 1))
    return path


def settled(monkeypatch):
    """Look at files as if their last change were long ago."""
    monkeypatch.setattr(content, "SETTLED_SECONDS", -60.0)


def test_a_large_file_that_looks_as_before_is_not_read_again(tmp_path, cache, reads, monkeypatch):
    settled(monkeypatch)
    path = large(tmp_path / "weights")
    assert file_hash(path) == file_hash(path) == truth(path)
    assert reads == [path]


def test_a_file_that_changed_just_now_is_not_trusted(tmp_path, cache, reads):
    path = large(tmp_path / "weights")
    file_hash(path)
    file_hash(path)
    assert reads == [path, path] and not (cache / "file_hashes").exists()


def test_a_modification_time_in_the_future_is_not_trusted(tmp_path, cache, reads, monkeypatch):
    monkeypatch.setattr(content, "SETTLED_SECONDS", -60.0)
    path = large(tmp_path / "weights")
    os.utime(path, (time.time() + 3600, time.time() + 3600))
    file_hash(path)
    file_hash(path)
    assert reads == [path, path]


def test_a_change_of_the_same_size_under_the_same_modification_time_is_noticed(tmp_path, cache, monkeypatch):
    settled(monkeypatch)
    path = large(tmp_path / "weights")
    before, stat = file_hash(path), path.stat()
    large(path, "b")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert file_hash(path) == truth(path) != before


def test_another_file_of_the_same_times_and_size_in_its_place_is_noticed(tmp_path, cache, monkeypatch):
    settled(monkeypatch)
    path, other = large(tmp_path / "weights"), large(tmp_path / "other", "b")
    before, stat = file_hash(path), path.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)
    assert file_hash(path) == truth(path) != before


def test_a_small_file_is_always_read(tmp_path, cache, reads, monkeypatch):
    settled(monkeypatch)
    path = tmp_path / "small"
    path.write_text("one")
    file_hash(path)
    file_hash(path)
    assert reads == [path, path]


def test_a_file_that_is_written_while_it_is_hashed_leaves_no_note(tmp_path, cache, monkeypatch):
    settled(monkeypatch)
    path = large(tmp_path / "weights")
    monkeypatch.setattr(content, "sha256", lambda path: (truth(path), large(path, "b"))[0])
    file_hash(path)
    assert not (cache / "file_hashes").exists()


def hash_with_notes(path):
    content.SETTLED_SECONDS = -60.0
    return [file_hash(path) for _ in range(20)]


def test_several_processes_share_their_notes(tmp_path, cache):
    path = large(tmp_path / "weights")
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        hashes = pool.map(hash_with_notes, [path] * 3)
    assert {one for several in hashes for one in several} == {truth(path)}
    assert len(list((cache / "file_hashes").iterdir())) == 1


def test_a_damaged_note_is_not_believed(tmp_path, cache, monkeypatch):
    settled(monkeypatch)
    path = large(tmp_path / "weights")
    file_hash(path)
    (note,) = (cache / "file_hashes").iterdir()
    note.write_text("{")
    assert file_hash(path) == truth(path)


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(tmp_path, cache, monkeypatch):
    settled(monkeypatch)
    cache.write_text("in the way")
    assert file_hash(large(tmp_path / "weights")) == truth(tmp_path / "weights")


def test_a_folder_is_its_names_and_contents_wherever_it_lies(tmp_path, cache):
    for name in ("here", "there"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "a.txt").write_text("a")
        (tmp_path / name / "b.txt").write_text("b")
    here, there = tmp_path / "here", tmp_path / "there"
    (there / ".hidden").write_text("left out")
    (here / "circle").symlink_to(here)
    before = content_hash([here])
    assert content_hash([there]) == before
    (there / "inner" / "a.txt").rename(there / "inner" / "c.txt")
    assert content_hash([there]) != before
    (here / "inner" / "a.txt").write_text("x")
    assert content_hash([here]) != before
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "outside").symlink_to(here)
    before = content_hash([tmp_path / "linked"])
    (here / "b.txt").write_text("y")
    assert content_hash([tmp_path / "linked"]) != before


def test_the_order_and_number_of_files_count(tmp_path, cache):
    one, two = tmp_path / "1" / "x", tmp_path / "2" / "x"
    for path in (one, two):
        path.parent.mkdir()
        path.write_text(path.parent.name)
    assert len({content_hash(paths) for paths in ([one], [two], [one, two], [two, one], [one, one])}) == 5


def test_a_file_that_is_not_there_is_refused_with_its_path(tmp_path, cache):
    with pytest.raises(DataError, match=r"nothing\.jsonl cannot be read: No such file or directory"):
        content_hash([tmp_path / "nothing.jsonl"])
