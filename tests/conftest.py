"""Configuration and options of all tests."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from align_lab.base.paths import cache_folder
from tests import rotation

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


def pytest_configure(config: pytest.Config) -> None:
    """Decide which part of the nightly tests runs."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        rotation.choose(everything=config.args_source is not pytest.Config.ArgsSource.ARGS)


def pytest_report_header() -> str:
    """Say so."""
    which = rotation.chosen()
    return "" if which is None else f"nightly tests: part {which} of 0 to {rotation.PARTS - 1} ({rotation.VARIABLE})"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the nightly tests whose turn it is not. Several workers begin with the longest files."""
    if (which := rotation.chosen()) is not None:
        later = [item for item in items if item.get_closest_marker("nightly") and rotation.part(item.nodeid) != which]
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if item not in set(later)]
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
