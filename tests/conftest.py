"""Configuration and options of all tests."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from align_lab.base.paths import cache_folder

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the fastest for tiny models, here and in the processes of tests

GOLDENS = Path(__file__).parent / "golden" / "values"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--goldens DIR`."""
    parser.addoption(
        "--goldens",
        type=Path,
        default=GOLDENS,
        metavar="DIR",
        help="folder of golden values to compare with, laid out like tests/golden/values",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Which worker gets which file, for `--dist loadfile`."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.scheduling import LongestFirst

    return LongestFirst(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several workers begin with the longest files."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        from tests.scheduling import place

        items.sort(key=lambda item: place(item.nodeid))


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for the runs of all tests, in which a stage is built once, also where several workers test.

    Only what was downloaded comes from the user's cache.
    """
    own = tmp_path_factory.getbasetemp()
    cache = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared_cache"
    cache.mkdir(exist_ok=True)
    known = cache_folder() / "downloads"
    if known.is_dir():
        with contextlib.suppress(FileExistsError):  # another worker was first
            (cache / "downloads").symlink_to(known)
    return cache
