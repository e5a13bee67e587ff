"""A cache of several users: new files have the rights of its folder, and what a user may not read or write is said."""

import contextlib
import os
import stat

import pytest

from align_lab.base import sharing
from align_lab.base.errors import DataError
from align_lab.stages.store import Stage, Store

NOBODY = 65534


@contextlib.contextmanager
def as_another_user():
    """As a user who owns nothing here; without the rights to become one, as oneself, whom modes bind as well."""
    if os.geteuid():
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def cache(tmp_path):
    """In folders that everybody may enter."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == tmp_path.owner() and stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0:
            folder.chmod(0o711)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def build(folder, inputs):
    (folder / "inner").mkdir()
    (folder / "inner" / "content.txt").write_text("bytes")


RECIPE = Stage(kind="thing", settings={}, build=build)


def modes(folder):
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_dir()}, {
        stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(("root", "file"), [(0o2770, 0o660), (0o2777, 0o666), (0o700, 0o600), (0o755, 0o644)])
@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_the_folder_decides_who_may_use_an_artefact_and_the_umask_does_not(cache, root, file, umask):
    cache.chmod(root)
    before = os.umask(umask)
    try:
        Store(cache / "artefacts").get(RECIPE)
    finally:
        os.umask(before)
    assert modes(cache) == ({root}, {file})


def test_another_user_of_a_shared_cache_reads_what_is_there_and_builds_what_is_not(cache):
    cache.chmod(0o777)
    before = os.umask(0o077)
    try:
        first = Store(cache / "artefacts").get(RECIPE)
        with as_another_user():
            assert Store(cache / "artefacts").get(RECIPE).content == first.content
            own = Store(cache / "artefacts").get(Stage(kind="thing", settings={"size": 2}, build=build))
        assert Store(cache / "artefacts").open(own.path.name).content == own.content
    finally:
        os.umask(before)


def test_an_artefact_that_another_user_may_not_read_is_not_called_damaged(cache):
    artefact = Store(cache / "artefacts").get(RECIPE).path
    for path in (artefact / "artefact.json", artefact / "inner" / "content.txt"):
        path.chmod(0)
        with as_another_user(), pytest.raises(DataError) as refused:
            Store(cache / "artefacts").get(RECIPE)
        path.chmod(0o644)
        assert f"{path} cannot be read: it belongs to {sharing.owner(cache)}" in str(refused.value)
        assert "chmod -R g+rwX" in str(refused.value) and "ALIGN_LAB_CACHE=FOLDER" in str(refused.value)
        assert "damaged" not in str(refused.value) and "rm -r" not in str(refused.value)


def test_a_cache_that_another_user_may_not_write_says_whose_it_is(cache):
    (cache / "artefacts").mkdir()
    (cache / "artefacts").chmod(0o555)
    with as_another_user(), pytest.raises(DataError) as refused:
        Store(cache / "artefacts").get(RECIPE)
    (cache / "artefacts").chmod(0o755)
    assert "cannot be written: it belongs to" in str(refused.value) and "chmod -R g+rwX" in str(refused.value)


def test_what_is_executable_or_a_link_stays_so(tmp_path):
    tmp_path.chmod(0o750)
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "run").write_text("")
    (folder / "run").chmod(0o777)
    (folder / "link").symlink_to("/etc/hostname")
    sharing.share(folder)
    assert stat.S_IMODE((folder / "run").stat().st_mode) == 0o740 and (folder / "link").is_symlink()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
